"""From counts of pixels to Dice by case, and its mean."""

from collections.abc import Iterable
from typing import Any

import numpy as np


def dice(counts: np.ndarray) -> np.ndarray:
    """``2 both / (prediction + truth)`` from counts ``[..., 3]``.

    A region that is neither there nor predicted has no Dice: NaN, and means leave it out (the
    official script divides 0 by 0 there). Predicted but not there, or missed, is 0.
    """
    both, prediction, truth = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    size = prediction + truth
    return np.divide(2 * both, size, out=np.full(size.shape, np.nan), where=size > 0)


def mean_over_cases(values: np.ndarray) -> float:
    """The mean of the values that exist; NaN if none does."""
    values = np.asarray(values, np.float64)
    exist = values[~np.isnan(values)]
    return float(exist.mean()) if exist.size else float("nan")


# {case: {"dice": {region: value or None}, "voxels": {region: [both, prediction, truth]},
#         "voxel_ml": volume of a voxel in ml}}
CaseFigures = dict[str, dict[str, Any]]
# {"train": CaseFigures, "validation": CaseFigures}
Figures = dict[str, CaseFigures]


def case_mean(figures: CaseFigures, region: str) -> float:
    """Mean Dice of ``region`` over the cases in which it has one."""
    values = [case["dice"][region] for case in figures.values()]
    return mean_over_cases(np.array(values, dtype=np.float64))  # None becomes NaN


def summary(figures: CaseFigures, regions: Iterable[str]) -> str:
    """Case means in words, for a log."""
    return ", ".join(f"{region} {case_mean(figures, region):.3f}" for region in regions)
