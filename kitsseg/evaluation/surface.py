"""Surface Dice and robust Hausdorff distance in mm, weighted by surface area.

The definition is that of DeepMind's surface-distance (Nikolov et al. 2018, arXiv 1809.04430), used by
KiTS21 and KiTS23. Surface elements lie at voxel corners; marching cubes gives the area of each.
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

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

_corner_areas = lru_cache(create_table_neighbour_code_to_surface_area)  # ``[256]`` mm² by corner code


@dataclass(frozen=True)
class Surfaces:
    """Distances in mm of the elements of two surfaces to the other surface, and their areas in mm².

    The prediction has P elements, the truth T. A distance is infinite if the other surface is empty.
    """

    to_truth_mm: Floats  # [P]
    prediction_mm2: Floats  # [P]
    to_prediction_mm: Floats  # [T]
    truth_mm2: Floats  # [T]

    def dice(self, tolerance_mm: float) -> float:
        """Return the fraction of both surfaces within this distance; NaN if both are empty."""
        area = self.prediction_mm2.sum() + self.truth_mm2.sum()
        near = self.prediction_mm2[self.to_truth_mm <= tolerance_mm].sum()
        near += self.truth_mm2[self.to_prediction_mm <= tolerance_mm].sum()
        return float(near / area) if area > 0 else float("nan")

    def hausdorff_mm(self, percent: float = 95) -> float:
        """Return the larger directed distance at a percentile of area; NaN if both are empty."""
        if not (self.prediction_mm2.size or self.truth_mm2.size):
            return float("nan")
        forth = _percentile(self.to_truth_mm, self.prediction_mm2, percent)
        return max(forth, _percentile(self.to_prediction_mm, self.truth_mm2, percent))


def surfaces(prediction: Mask, truth: Mask, spacing_mm: Sequence[float]) -> Surfaces:
    """Return the surfaces of two masks ``[S, H, W]``, which are closed at the border of the volume.

    ``spacing_mm`` holds the spacing of slices, rows and columns.
    """
    box = bounding_box(prediction | truth) or (slice(0, 0),) * 3
    area_mm2 = _corner_areas(tuple(float(mm) for mm in spacing_mm))
    codes = [corner_codes(mask[box]) for mask in (prediction, truth)]
    p, t = ((code != 0) & (code != 0xFF) for code in codes)
    forth, back = _nearest_mm(p, t, spacing_mm), _nearest_mm(t, p, spacing_mm)
    return Surfaces(forth, area_mm2[codes[0][p]], back, area_mm2[codes[1][t]])


def corner_codes(mask: Mask) -> NDArray[np.uint8]:
    """Return ``[S + 1, H + 1, W + 1]``: which of the eight voxels around each corner of a mask are set.

    Each voxel has one bit; the first in (slice, row, column) is the highest.
    """
    bits: NDArray[Any] = np.pad(mask.view(np.uint8), 1)
    bits = (bits[..., :-1] << 1) | bits[..., 1:]
    bits = (bits[:, :-1] << 2) | bits[:, 1:]
    codes: NDArray[np.uint8] = (bits[:-1] << 4) | bits[1:]
    return codes


def _nearest_mm(own: Mask, other: Mask, spacing_mm: Sequence[float]) -> Floats:
    """Return ``[n]``: the distances of the corners in ``own`` to the nearest in ``other``."""
    apart = ~other[own]
    out = np.where(apart, np.inf, 0)
    if other.any() and apart.any():
        out[apart] = nearest_mm(np.argwhere(own & ~other), np.argwhere(other), spacing_mm)
    return out


def nearest_mm(points: NDArray[Any], others: NDArray[Any], spacing_mm: Sequence[float]) -> Floats:
    """Return ``[n]``: the distances of indices ``[n, 3]`` to the nearest of ``others``."""
    spacing = np.asarray(spacing_mm, np.float64)
    _, nearest = KDTree(others * spacing).query(points * spacing)
    # Compute from index differences, so that equal offsets give equal distances.
    return np.asarray(np.linalg.norm((points - others[nearest]) * spacing, axis=1))


def _percentile(distances_mm: Floats, areas_mm2: Floats, percent: float) -> float:
    """Return the smallest distance that covers ``percent`` of the area; 0 for an empty surface."""
    if not distances_mm.size:
        return 0.0
    # Sort ties by area, so that rounding does not depend on the order of the corners.
    order = np.lexsort((areas_mm2, distances_mm))
    share = np.cumsum(areas_mm2[order]) / areas_mm2.sum()
    position = int(np.searchsorted(share, percent / 100))
    return float(distances_mm[order[min(position, len(order) - 1)]])
