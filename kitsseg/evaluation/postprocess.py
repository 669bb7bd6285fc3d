"""Clean label volumes by the size and position of their connected components.

Each function takes a label volume ``[S, H, W]`` and returns a new one. A *kidney* is a connected
component of kidney and tumour together, as in the official score.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pykdtree.kdtree import KDTree

from kitsseg.data.bounding_box import bounding_box
from kitsseg.data.labels import BACKGROUND, CLASSES, KIDNEY, TUMOUR
from kitsseg.evaluation.connected_components import FACES, components

Label = NDArray[np.uint8]


class PostProcessing:
    """Apply the rules that are set: kidneys first, then tumours, then holes.

    Args:
        largest_kidneys: Number of largest kidneys to keep. None keeps all.
        min_kidney_ml: Remove smaller kidneys. 0 removes none.
        tumour_within_mm: Remove tumours farther than this from every kidney voxel. None removes none.
        min_tumour_ml: Relabel smaller tumours: kidney if they touch it, otherwise background.
        max_hole_ml: Fill holes up to this volume. 0 fills none.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        largest_kidneys: int | None = None,
        min_kidney_ml: float = 0,
        tumour_within_mm: float | None = None,
        min_tumour_ml: float = 0,
        max_hole_ml: float = 0,
    ) -> None:
        if largest_kidneys is not None and largest_kidneys < 1:
            raise ValueError(f"largest_kidneys={largest_kidneys}: must be at least 1, or null for all")
        limits = {
            "min_kidney_ml": min_kidney_ml,
            "tumour_within_mm": tumour_within_mm,
            "min_tumour_ml": min_tumour_ml,
            "max_hole_ml": max_hole_ml,
        }
        for name, value in limits.items():
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value}: must be at least 0 and finite")
        self.largest_kidneys = largest_kidneys
        self.min_kidney_ml = min_kidney_ml
        self.tumour_within_mm = tumour_within_mm
        self.min_tumour_ml = min_tumour_ml
        self.max_hole_ml = max_hole_ml

    def __call__(self, label: Label, spacing_mm: Sequence[float]) -> Label:
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
            part = drop_far_tumours(part, spacing_mm, self.tumour_within_mm)
        if self.min_tumour_ml > 0:
            part = drop_small_tumours(part, self.min_tumour_ml / voxel_ml)
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


def drop_far_tumours(label: Label, spacing_mm: Sequence[float], within_mm: float) -> Label:
    """Keep tumours that touch a kidney voxel or lie within ``within_mm`` of one, centre to centre.

    Without kidney voxels, all tumours are removed.
    """
    numbers, sizes = components(label == TUMOUR)
    keep = np.zeros(len(sizes), bool)
    keep[0] = True
    keep[_touching(numbers, label == KIDNEY)] = True
    kidney = np.argwhere(_border(label == KIDNEY))
    tumour = np.argwhere(_border(label == TUMOUR) & ~keep[numbers])
    if len(kidney) and len(tumour):
        tree = KDTree(kidney * np.asarray(spacing_mm))
        _, nearest = tree.query(tumour * np.asarray(spacing_mm))
        steps_mm = (tumour - kidney[nearest]) * np.asarray(spacing_mm)
        near = np.sqrt((steps_mm * steps_mm).sum(axis=1)) <= within_mm
        keep[numbers[tuple(tumour[near].T)]] = True
    return np.where(keep[numbers], label, np.uint8(BACKGROUND))


def drop_small_tumours(label: Label, min_voxels: float) -> Label:
    """Relabel tumours below ``min_voxels``: kidney if they touch it, otherwise background."""
    numbers, sizes = components(label == TUMOUR)
    small = ~_reaches(sizes, min_voxels)
    becomes = np.zeros(len(sizes), np.uint8)
    becomes[_touching(numbers, label == KIDNEY)] = KIDNEY
    return np.where(small[numbers], becomes[numbers], label)


def fill_holes(label: Label, max_voxels: float) -> Label:
    """Fill holes of up to ``max_voxels`` with the class that shares most faces with them.

    A hole is a 6-connected component of background that does not reach the border. Ties become kidney.
    """
    padded = np.pad(label, 1)
    numbers, sizes = components(padded == BACKGROUND, FACES)
    hole = sizes <= max_voxels
    hole[[0, numbers[0, 0, 0]]] = False
    inside = np.argwhere(hole[numbers])
    faces = np.zeros((len(sizes), len(CLASSES)), np.int64)
    for axis in range(3):
        for step in (-1, 1):
            beside = inside.copy()
            beside[:, axis] += step
            np.add.at(faces, (numbers[tuple(inside.T)], padded[tuple(beside.T)]), 1)
    becomes = np.where(faces[:, TUMOUR] > faces[:, KIDNEY], TUMOUR, KIDNEY).astype(np.uint8)
    filled = np.where(hole[numbers], becomes[numbers], padded)
    return filled[1:-1, 1:-1, 1:-1]


def _reaches(sizes: NDArray[np.int64], min_voxels: float) -> NDArray[np.bool_]:
    """Return which components have at least ``min_voxels``; True for number 0, the outside."""
    reaches: NDArray[np.bool_] = sizes >= min_voxels * (
        1 - 1e-12
    )  # tolerate rounding: computed from ml and mm
    reaches[0] = True
    return reaches


def _touching(numbers: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the numbers of the components that touch ``mask``, corners included."""
    near = np.pad(mask, 1)
    for axis in range(3):  # a 3 x 3 x 3 dilation, one axis at a time
        lower, middle, upper = (
            np.take(near, range(start, near.shape[axis] - 2 + start), axis) for start in range(3)
        )
        near = lower | middle | upper
    return np.unique(numbers[near & (numbers > 0)])


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels of ``mask`` with a face on its outside."""
    inner = np.pad(mask, 1)
    inside = mask.copy()
    for axis in range(3):
        for start in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(start, start + mask.shape[axis])
            inside &= inner[tuple(window)]
    border: NDArray[np.bool_] = mask & ~inside
    return border
