"""Rules of thumb that clean a label volume: components and holes, by volume in ml.

Each function takes a label volume ``[S, H, W]`` uint8 and returns another; its argument stays as it is.
A *kidney* is a connected component of kidney and tumour together, as in the official score.
"""

from collections.abc import Sequence

import numpy as np
from pykdtree.kdtree import KDTree

from kitsseg.data.bounding_box import bounding_box
from kitsseg.data.labels import BACKGROUND, CLASSES, KIDNEY, TUMOUR
from kitsseg.evaluation.connected_components import FACES, components


class PostProcessing:
    """Kidneys first, then tumours, then holes; what isn't set is left alone.

    Args:
        largest_kidneys: how many kidneys to keep; None: all.
        min_kidney_ml: smaller kidneys go; 0: none.
        tumour_within_mm: tumours that lie farther from any kidney voxel go; None: none.
        min_tumour_ml: smaller tumours become kidney where they touch it, else background; 0: none.
        max_hole_ml: larger holes stay; 0: all.
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
            raise ValueError(f"largest_kidneys={largest_kidneys} must be at least 1, or null for all")
        limits = {
            "min_kidney_ml": min_kidney_ml,
            "tumour_within_mm": tumour_within_mm,
            "min_tumour_ml": min_tumour_ml,
            "max_hole_ml": max_hole_ml,
        }
        for name, value in limits.items():
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value} must be at least 0")
        self.largest_kidneys = largest_kidneys
        self.min_kidney_ml = min_kidney_ml
        self.tumour_within_mm = tumour_within_mm
        self.min_tumour_ml = min_tumour_ml
        self.max_hole_ml = max_hole_ml

    def __call__(self, label: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
        """A cleaned copy of ``label``, whose slices, rows and columns are ``spacing_mm`` apart."""
        out = label.copy(order="K")
        box = bounding_box(label)  # no rule adds anything outside it
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


def keep_kidneys(label: np.ndarray, largest: int | None, min_voxels: float) -> np.ndarray:
    """Only the ``largest`` kidneys (None: all) of at least ``min_voxels``, tumours included."""
    numbers, sizes = components(label > BACKGROUND)
    keep = _reaches(sizes, min_voxels)
    if largest is not None:
        keep[np.argsort(-sizes, kind="stable")[largest:]] = False
    return np.where(keep[numbers], label, np.uint8(BACKGROUND))


def drop_far_tumours(label: np.ndarray, spacing_mm: Sequence[float], within_mm: float) -> np.ndarray:
    """Only tumours with a voxel next to a kidney voxel, or ``within_mm`` of one, centre to centre.

    Without any kidney voxel, no tumour is near one: all go.
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


def drop_small_tumours(label: np.ndarray, min_voxels: float) -> np.ndarray:
    """Tumours below ``min_voxels`` become kidney where they touch it, else background."""
    numbers, sizes = components(label == TUMOUR)
    small = ~_reaches(sizes, min_voxels)
    becomes = np.zeros(len(sizes), np.uint8)
    becomes[_touching(numbers, label == KIDNEY)] = KIDNEY
    return np.where(small[numbers], becomes[numbers], label)


def fill_holes(label: np.ndarray, max_voxels: float) -> np.ndarray:
    """Background of up to ``max_voxels``, closed in by kidney and tumour, becomes what it touches most.

    A hole is closed if its voxels' faces lead nowhere outside; with equal faces it becomes kidney.
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


def _reaches(sizes: np.ndarray, min_voxels: float) -> np.ndarray:
    """Which components have ``min_voxels``; the outside, number 0, counts as one that does."""
    reaches = sizes >= min_voxels * (1 - 1e-12)  # from ml and mm, so not exactly whole
    reaches[0] = True
    return reaches


def _touching(numbers: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The numbers of the components with a voxel that shares a corner with one of ``mask``."""
    near = np.pad(mask, 1)
    for axis in range(3):  # a cube of 3 x 3 x 3 is a line along each axis
        lower, middle, upper = (
            np.take(near, range(start, near.shape[axis] - 2 + start), axis) for start in range(3)
        )
        near = lower | middle | upper
    return np.unique(numbers[near & (numbers > 0)])


def _border(mask: np.ndarray) -> np.ndarray:
    """Voxels of ``mask`` with a face that leads out of it."""
    inner = np.pad(mask, 1)
    inside = mask.copy()
    for axis in range(3):
        for start in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(start, start + mask.shape[axis])
            inside &= inner[tuple(window)]
    return mask & ~inside
