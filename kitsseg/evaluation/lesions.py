"""Connected components of a mask, and detection of the lesions of two masks.

A lesion is a 26-connected component of at least ``min_ml``. A true lesion is found if at least
``min_overlap`` of its voxels are predicted. A predicted lesion is a false positive if less than
``min_overlap`` of its voxels are in the truth. Merged and split lesions count as found.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def components(mask: Mask, connectivity: Literal[6, 26] = 26) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the connected components of a mask ``[S, H, W]``, and their sizes.

    The components are ``[S, H, W]`` numbers from 1, 0 outside the mask. The sizes are
    ``[components + 1]`` voxels of each number, with 0 voxels for number 0.
    """
    mask = np.ascontiguousarray(mask)
    numbers, count = cc3d.connected_components(mask, connectivity=connectivity, return_N=True)
    return numbers, np.bincount(numbers[mask], minlength=count + 1)


def reach(sizes: NDArray[np.int64], ml: float, voxel_ml: float) -> NDArray[np.bool_]:
    """Return which numbers of voxels have at least the volume ``ml``, whatever the rounding."""
    return np.asarray(sizes >= ml / voxel_ml * (1 - 1e-12))


class Lesions(NamedTuple):
    """Numbers of true lesions, true lesions found, predicted lesions and false positives."""

    truth: int
    found: int
    predicted: int
    false_positives: int


@dataclass(frozen=True)
class Matching:
    """Count lesions in two masks. `ValueError` is raised for values out of range."""

    min_ml: float = 0.1  # volume of the smallest lesion
    min_overlap: float = 0.1  # minimum fraction of a lesion that overlaps the other mask, in (0, 1]

    def __post_init__(self) -> None:
        if not 0 <= self.min_ml < float("inf"):
            raise ValueError(f"min_ml={self.min_ml}: must be at least 0 and finite")
        if not 0 < self.min_overlap <= 1:
            raise ValueError(f"min_overlap={self.min_overlap}: must be in (0, 1]")

    def __call__(self, prediction: Mask, truth: Mask, voxel_ml: float) -> Lesions:
        """Return the lesion counts of two masks ``[S, H, W]``."""
        overlaps = []  # for each lesion in truth and prediction, the fraction that lies in both
        for mask in (truth, prediction):
            numbers, sizes = components(mask)
            shared = np.bincount(numbers[prediction & truth], minlength=len(sizes))
            large = reach(sizes, self.min_ml, voxel_ml)
            large[0] = False
            overlaps.append(shared[large] / sizes[large])
        hits = [int((overlap >= self.min_overlap).sum()) for overlap in overlaps]
        true, predicted = map(len, overlaps)
        return Lesions(true, hits[0], predicted, predicted - hits[1])
