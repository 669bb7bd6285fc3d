"""Surface Dice and robust Hausdorff distance in mm, weighted by surface area.

The definition is that of DeepMind's surface-distance (Nikolov et al. 2018, arXiv 1809.04430), used by
KiTS21 and KiTS23. Surface elements lie at voxel corners. Marching cubes gives the area of each in mm².
Its distance is that to the nearest element of the other surface.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pykdtree.kdtree import KDTree  # SciPy's KDTree can take minutes if one surface encloses another
from surface_distance.lookup_tables import create_table_neighbour_code_to_surface_area

from kitsseg.data.bounding_box import bounding_box


@dataclass(frozen=True)
class Surfaces:
    """Areas of the elements of two surfaces and their distances to the other surface.

    Attributes:
        to_truth_mm: ``[P]`` distance per element of the prediction, infinite without a truth.
        prediction_mm2: ``[P]`` area per element of the prediction.
        to_prediction_mm: ``[T]`` distance per element of the truth, infinite without a prediction.
        truth_mm2: ``[T]`` area per element of the truth.
    """

    to_truth_mm: NDArray[np.float64]
    prediction_mm2: NDArray[np.float64]
    to_prediction_mm: NDArray[np.float64]
    truth_mm2: NDArray[np.float64]

    def dice(self, tolerance_mm: float) -> float:
        """Return the fraction of both surfaces within ``tolerance_mm`` of the other.

        NaN if both surfaces are empty, 0 if one is.
        """
        area = self.prediction_mm2.sum() + self.truth_mm2.sum()
        near = self.prediction_mm2[self.to_truth_mm <= tolerance_mm].sum()
        near += self.truth_mm2[self.to_prediction_mm <= tolerance_mm].sum()
        return float(near / area) if area > 0 else float("nan")

    def hausdorff_mm(self, percent: float = 95) -> float:
        """Return the larger of the two directed distances at the ``percent`` percentile of area.

        NaN if both surfaces are empty, infinity if one is.
        """
        if not (self.prediction_mm2.size or self.truth_mm2.size):
            return float("nan")
        return max(
            _percentile(self.to_truth_mm, self.prediction_mm2, percent),
            _percentile(self.to_prediction_mm, self.truth_mm2, percent),
        )


def surfaces(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> Surfaces:
    """Return the surfaces of two masks.

    Args:
        prediction: ``[S, H, W]`` mask. Surfaces are closed at the border of the volume.
        truth: ``[S, H, W]`` mask.
        spacing_mm: Spacing of slices, rows and columns.
    """
    box = bounding_box(prediction | truth)
    if box is None:
        nothing = np.empty(0)
        return Surfaces(nothing, nothing, nothing, nothing)
    area_mm2 = _corner_areas(tuple(float(mm) for mm in spacing_mm))
    codes = [corner_codes(mask[box]) for mask in (prediction, truth)]
    corners = [np.argwhere(_on_surface(code)) for code in codes]
    areas = [area_mm2[code[tuple(where.T)]] for code, where in zip(codes, corners, strict=True)]
    return Surfaces(
        _nearest_mm(corners[0], corners[1], _on_surface(codes[1]), spacing_mm),
        areas[0],
        _nearest_mm(corners[1], corners[0], _on_surface(codes[0]), spacing_mm),
        areas[1],
    )


def corner_codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return which of the eight voxels around each corner are set.

    Args:
        mask: ``[S, H, W]``, padded with False.

    Returns:
        ``[S + 1, H + 1, W + 1]``: one bit per voxel; the first in (slice, row, column) is the highest.
    """
    bits: NDArray[Any] = np.pad(mask.view(np.uint8), 1)
    bits = (bits[..., :-1] << 1) | bits[..., 1:]
    bits = (bits[:, :-1] << 2) | bits[:, 1:]
    codes: NDArray[np.uint8] = (bits[:-1] << 4) | bits[1:]
    return codes


def _on_surface(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    on_surface: NDArray[np.bool_] = (codes != 0) & (codes != 0xFF)
    return on_surface


@lru_cache
def _corner_areas(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Return ``[256]``: the area in mm² of a corner by its code."""
    return np.asarray(create_table_neighbour_code_to_surface_area(spacing_mm))


def _nearest_mm(
    corners: NDArray[np.intp],
    others: NDArray[np.intp],
    is_other: NDArray[np.bool_],
    spacing_mm: Sequence[float],
) -> NDArray[np.float64]:
    """Return ``[n]``: the distances from ``corners`` to the nearest of ``others``.

    Args:
        corners: ``[n, 3]`` indices.
        others: ``[m, 3]`` indices.
        is_other: ``[S, H, W]`` mask of ``others``. Corners in it are at distance 0 and are not searched.
        spacing_mm: Spacing of slices, rows and columns.
    """
    if not len(others):
        return np.full(len(corners), np.inf)
    spacing = np.asarray(spacing_mm, np.float64)
    out = np.zeros(len(corners))
    (apart,) = np.nonzero(~is_other[tuple(corners.T)])
    if not len(apart):
        return out
    _, nearest = KDTree(others * spacing).query(corners[apart] * spacing)
    # Compute from index differences, so that equal offsets give equal distances.
    steps_mm = (corners[apart] - others[nearest]) * spacing
    out[apart] = np.sqrt((steps_mm * steps_mm).sum(axis=1))
    return out


def _percentile(
    distances_mm: NDArray[np.float64], areas_mm2: NDArray[np.float64], percent: float
) -> float:
    """Return the smallest distance that covers ``percent`` of the area; 0 for an empty surface."""
    if not distances_mm.size:
        return 0.0
    # Sort ties by area, so that rounding does not depend on the order of the corners.
    order = np.lexsort((areas_mm2, distances_mm))
    share = np.cumsum(areas_mm2[order]) / areas_mm2.sum()
    position = int(np.searchsorted(share, percent / 100))
    return float(distances_mm[order[min(position, len(order) - 1)]])
