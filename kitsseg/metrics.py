"""From counts of pixels to Dice by case, and its mean."""

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
