"""Tumours one by one: which of them were found, and which were made up.

A lesion is a connected component (voxels that share a corner) of at least ``min_ml``. One of the truth
is found if at least ``min_overlap`` of its voxels are predicted to be tumour, by whichever component;
one of the prediction is false if less than ``min_overlap`` of its voxels are tumour in truth. So lesions
that a prediction joins or parts are all found, and a component that floods an organ is a false one
although it covers a lesion. Smaller components count on neither side.
"""

from dataclasses import dataclass

import numpy as np

from kitsseg.evaluation.connected_components import components


@dataclass(frozen=True)
class Lesions:
    """Numbers of lesions: in the truth, those of them that were found; predicted, those false."""

    truth: int
    found: int
    predicted: int
    false_positives: int


class Matching:
    """When a component is a lesion, and when two are the same."""

    def __init__(self, min_ml: float = 0.1, min_overlap: float = 0.1) -> None:
        if not 0 <= min_ml < float("inf"):
            raise ValueError(f"min_ml={min_ml} must be at least 0")
        if not 0 < min_overlap <= 1:
            raise ValueError(f"min_overlap={min_overlap} must lie in (0, 1]: a share of a lesion")
        self.min_ml, self.min_overlap = min_ml, min_overlap

    def __call__(self, prediction: np.ndarray, truth: np.ndarray, voxel_ml: float) -> Lesions:
        """Match two tumour masks ``[S, H, W]`` bool."""
        both = prediction & truth
        real = self._shares(truth, both, voxel_ml)
        made = self._shares(prediction, both, voxel_ml)
        found = int((real >= self.min_overlap).sum())
        return Lesions(len(real), found, len(made), int((made < self.min_overlap).sum()))

    def _shares(self, mask: np.ndarray, both: np.ndarray, voxel_ml: float) -> np.ndarray:
        """``[lesions]``: how much of each of ``mask``'s lesions lies in ``both``."""
        numbers, sizes = components(mask)
        overlap = np.bincount(numbers[both], minlength=len(sizes))
        large = sizes * voxel_ml >= self.min_ml
        large[0] = False
        return overlap[large] / sizes[large]
