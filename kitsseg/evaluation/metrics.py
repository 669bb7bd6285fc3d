"""Dice per case from voxel counts, and its mean over cases."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# {case: {"dice": {region: value or None}, "voxels": {region: [both, prediction, truth]},
#         "voxel_ml": volume of a voxel in ml}}
CaseScores = dict[str, dict[str, Any]]
# {"train": CaseScores, "validation": CaseScores}
SplitScores = dict[str, CaseScores]


def dice(counts: ArrayLike) -> NDArray[np.float64]:
    """Return ``2 * both / (prediction + truth)``.

    Dice is NaN where a region is absent from both truth and prediction. Means skip NaN. Dice is 0 where
    the region is absent from one of them.

    Args:
        counts: ``[..., 3]`` voxels in both, in the prediction and in the truth.
    """
    both, prediction, truth = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    size = prediction + truth
    out: NDArray[np.float64] = np.full(size.shape, np.nan)
    np.divide(2 * both, size, out=out, where=size > 0)
    return out


def mean_over_cases(values: ArrayLike) -> float:
    """Return the mean of the values that are not NaN, or NaN if there are none."""
    array = np.asarray(values, np.float64)
    known = array[~np.isnan(array)]
    return float(known.mean()) if known.size else float("nan")


def case_mean(scores: CaseScores, region: str) -> float:
    """Return the mean Dice of ``region`` over the cases where it is defined."""
    values = [case["dice"][region] for case in scores.values()]
    return mean_over_cases(np.array(values, dtype=np.float64))  # None becomes NaN


def format_means(scores: CaseScores, regions: Iterable[str]) -> str:
    """Return the mean Dice of each region as text for a log."""
    return ", ".join(f"{region} {case_mean(scores, region):.3f}" for region in regions)
