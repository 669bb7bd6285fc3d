"""Clean label volumes by the size and position of their connected components.

Each function takes a label volume ``[S, H, W]`` and returns a new one. A *kidney* is a connected
component of all classes together, as in the official score of KiTS19. A *tumour* is one of the target
region of the labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kitsseg.data.bounding_box import bounding_box
from kitsseg.data.labels import BACKGROUND, KITS19, Labels
from kitsseg.evaluation.lesions import components
from kitsseg.evaluation.surface import nearest_mm

Label = NDArray[np.uint8]


@dataclass(frozen=True)
class PostProcessing:
    """Apply the rules that are set: kidneys first, then tumours, then holes.

    `ValueError` is raised for values out of range.
    """

    largest_kidneys: int | None = None  # number of largest kidneys to keep; None keeps all
    min_kidney_ml: float = 0  # remove smaller kidneys
    tumour_within_mm: float | None = None  # remove tumours farther from every kidney voxel; None: none
    min_tumour_ml: float = 0  # relabel smaller tumours: kidney if they touch it, otherwise background
    max_hole_ml: float = 0  # fill holes up to this volume

    def __post_init__(self) -> None:
        largest = self.largest_kidneys
        if largest is not None and largest < 1:
            raise ValueError(f"largest_kidneys={largest}: must be at least 1, or null for all")
        for name, value in vars(self).items():
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value}: must be at least 0 and finite")

    def __call__(self, label: Label, spacing_mm: Sequence[float], labels: Labels = KITS19) -> Label:
        """Return a cleaned copy of ``label``; ``spacing_mm`` is that of slices, rows and columns."""
        out = label.copy(order="K")
        box = bounding_box(label)  # no rule changes voxels outside it
        if box is None:
            return out
        part = np.ascontiguousarray(label[box])
        voxel_ml = float(np.prod(spacing_mm)) / 1000
        if self.largest_kidneys is not None or self.min_kidney_ml > 0:
            part = keep_kidneys(part, self.largest_kidneys, self.min_kidney_ml / voxel_ml)
        if self.tumour_within_mm is not None:
            part = drop_far_tumours(part, spacing_mm, self.tumour_within_mm, labels)
        if self.min_tumour_ml > 0:
            part = drop_small_tumours(part, self.min_tumour_ml / voxel_ml, labels)
        if self.max_hole_ml > 0:
            part = fill_holes(part, self.max_hole_ml / voxel_ml)
        out[box] = part
        return out


def keep_kidneys(label: Label, largest: int | None, min_voxels: float) -> Label:
    """Keep the ``largest`` kidneys (None keeps all) of at least ``min_voxels``, tumours included."""
    numbers, sizes = components(label > BACKGROUND)
    keep = _reaches(sizes, min_voxels)
    if largest is not None:
        keep[np.argsort(-sizes, kind="stable")[largest:]] = False
    return np.where(keep[numbers], label, np.uint8(BACKGROUND))


def drop_far_tumours(
    label: Label, spacing_mm: Sequence[float], within_mm: float, labels: Labels = KITS19
) -> Label:
    """Keep tumours that touch a kidney voxel or lie within ``within_mm`` of one, centre to centre.

    Without kidney voxels, all tumours are removed.
    """
    tumours, others = _split(label, labels)
    numbers, sizes = components(tumours)
    keep = np.arange(len(sizes)) == 0
    keep[_touching(numbers, others)] = True
    # Distances start at voxels with a face on the outside.
    edges = (mask & ~ndimage.binary_erosion(mask) for mask in (others, tumours))
    kidney, tumour = (np.argwhere(edge) for edge in edges)
    tumour = tumour[~keep[numbers[tuple(tumour.T)]]]
    if len(kidney) and len(tumour):
        near = nearest_mm(tumour, kidney, spacing_mm) <= within_mm
        keep[numbers[tuple(tumour[near].T)]] = True
    return np.where(keep[numbers], label, np.uint8(BACKGROUND))


def drop_small_tumours(label: Label, min_voxels: float, labels: Labels = KITS19) -> Label:
    """Relabel tumours below ``min_voxels``: the lowest other class they touch, otherwise background."""
    tumours, others = _split(label, labels)
    numbers, sizes = components(tumours)
    small = ~_reaches(sizes, min_voxels)
    becomes = np.zeros(len(sizes), np.uint8)
    for class_id in np.unique(label[others])[::-1]:
        becomes[_touching(numbers, label == class_id)] = class_id
    return np.where(small[numbers], becomes[numbers], label)


def fill_holes(label: Label, max_voxels: float) -> Label:
    """Fill holes of up to ``max_voxels`` with the class that shares most faces with them.

    A hole is a 6-connected component of background that does not reach the border. Of equal numbers of
    faces, the lowest class counts.
    """
    padded = np.pad(label, 1)
    # The consistent pair in digital topology: 26-connected objects and 6-connected cavities.
    numbers, sizes = components(padded == BACKGROUND, connectivity=6)
    hole = sizes <= max_voxels
    hole[[0, numbers[0, 0, 0]]] = False
    inside = np.argwhere(hole[numbers])
    faces = np.zeros((len(sizes), int(label.max(initial=1)) + 1), np.int64)
    for step in (*np.eye(3, dtype=int), *-np.eye(3, dtype=int)):
        beside = padded[tuple((inside + step).T)]
        np.add.at(faces, (numbers[tuple(inside.T)], beside), 1)
    becomes = (faces[:, 1:].argmax(1) + 1).astype(np.uint8)
    return np.where(hole[numbers], becomes[numbers], padded)[1:-1, 1:-1, 1:-1]


def _split(label: Label, labels: Labels) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the masks of the target region and of all other classes but the background."""
    tumours = labels.mask(label, labels.target)
    return tumours, (label != BACKGROUND) & ~tumours


def _reaches(sizes: NDArray[np.int64], min_voxels: float) -> NDArray[np.bool_]:
    """Return which components have at least ``min_voxels``; True for number 0, the outside."""
    tolerance = 1 - 1e-12  # of rounding: ``min_voxels`` is computed from ml and mm
    return np.asarray((sizes >= min_voxels * tolerance) | (np.arange(len(sizes)) == 0))


def _touching(numbers: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the numbers of the components that touch ``mask``, corners included."""
    near = ndimage.maximum_filter(mask, 3, mode="constant")  # a 3 x 3 x 3 dilation, axis by axis
    return np.unique(numbers[near & (numbers > 0)])
