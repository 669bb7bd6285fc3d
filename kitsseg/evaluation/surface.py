"""Surface Dice and robust Hausdorff distance in mm, weighted by surface area.

The definition is that of DeepMind's surface-distance (Nikolov et al. 2018, arXiv 1809.04430), which
KiTS21 and KiTS23 score with: the surface runs through the corners of voxels, each corner stands for
the area in mm² that marching cubes gives it, and every corner's distance is that to the nearest corner
of the other surface. Only the corners on the surfaces are looked at, not the volume between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pykdtree.kdtree import KDTree  # scipy's takes minutes where one surface is far round the other
from surface_distance.lookup_tables import create_table_neighbour_code_to_surface_area

from kitsseg.data.bounding_box import bounding_box


@dataclass(frozen=True)
class Surfaces:
    """Two surfaces' corners: their distance to the other surface and the area they stand for.

    Attributes:
        to_truth_mm, prediction_mm2: ``[corners of the prediction]`` float64.
        to_prediction_mm, truth_mm2: ``[corners of the truth]`` float64.

    Without another surface the distances are infinite.
    """

    to_truth_mm: np.ndarray
    prediction_mm2: np.ndarray
    to_prediction_mm: np.ndarray
    truth_mm2: np.ndarray

    def dice(self, tolerance_mm: float) -> float:
        """The share of both surfaces that lies within ``tolerance_mm`` of the other.

        Neither surface is there: NaN. Only one is: 0.
        """
        area = self.prediction_mm2.sum() + self.truth_mm2.sum()
        near = self.prediction_mm2[self.to_truth_mm <= tolerance_mm].sum()
        near += self.truth_mm2[self.to_prediction_mm <= tolerance_mm].sum()
        return float(near / area) if area > 0 else float("nan")

    def hausdorff_mm(self, percent: float = 95) -> float:
        """The distance that ``percent`` of a surface's area stays below, the larger of the two ways.

        Neither surface is there: NaN. Only one is: infinite.
        """
        if not (self.prediction_mm2.size or self.truth_mm2.size):
            return float("nan")
        return max(
            _percentile(self.to_truth_mm, self.prediction_mm2, percent),
            _percentile(self.to_prediction_mm, self.truth_mm2, percent),
        )


def surfaces(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]) -> Surfaces:
    """Measure two masks.

    Args:
        prediction, truth: ``[S, H, W]`` bool. What touches the volume's border is closed there.
        spacing_mm: distance of slices, rows and columns.
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


def corner_codes(mask: np.ndarray) -> np.ndarray:
    """Which of the eight voxels round each corner are set.

    Args:
        mask: ``[S, H, W]`` bool; nothing is set outside it.

    Returns:
        ``[S + 1, H + 1, W + 1]`` uint8: a bit a voxel, the first in (slice, row, column) highest.
    """
    bits: np.ndarray = np.pad(mask.view(np.uint8), 1)
    bits = (bits[..., :-1] << 1) | bits[..., 1:]
    bits = (bits[:, :-1] << 2) | bits[:, 1:]
    return (bits[:-1] << 4) | bits[1:]


def _on_surface(codes: np.ndarray) -> np.ndarray:
    return (codes != 0) & (codes != 0xFF)


@lru_cache
def _corner_areas(spacing_mm: tuple[float, ...]) -> np.ndarray:
    """``[256]``: the area in mm² of a corner, by its code."""
    return np.asarray(create_table_neighbour_code_to_surface_area(spacing_mm))


def _nearest_mm(
    corners: np.ndarray, others: np.ndarray, is_other: np.ndarray, spacing_mm: Sequence[float]
) -> np.ndarray:
    """Distances from ``corners`` ``[n, 3]`` to the nearest of ``others`` ``[m, 3]``.

    Args:
        corners, others: integer positions.
        is_other: ``[S, H, W]`` bool, the same as ``others``: a corner that is one of them needs no
            search.
        spacing_mm: of the positions.
    """
    if not len(others):
        return np.full(len(corners), np.inf)
    spacing = np.asarray(spacing_mm, np.float64)
    out = np.zeros(len(corners))
    (apart,) = np.nonzero(~is_other[tuple(corners.T)])
    if not len(apart):
        return out
    _, nearest = KDTree(others * spacing).query(corners[apart] * spacing)
    # From whole steps, not from the tree's rounded positions: 2 x 0.1 mm is 0.2 mm everywhere.
    steps_mm = (corners[apart] - others[nearest]) * spacing
    out[apart] = np.sqrt((steps_mm * steps_mm).sum(axis=1))
    return out


def _percentile(distances_mm: np.ndarray, areas_mm2: np.ndarray, percent: float) -> float:
    """The smallest distance within which ``percent`` of the area lies; 0 without any corner."""
    if not distances_mm.size:
        return 0.0
    # By distance, then area, so that equal corners in any order give the same rounding.
    order = np.lexsort((areas_mm2, distances_mm))
    share = np.cumsum(areas_mm2[order]) / areas_mm2.sum()
    position = int(np.searchsorted(share, percent / 100))
    return float(distances_mm[order[min(position, len(order) - 1)]])
