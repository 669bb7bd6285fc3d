"""Voxel counts and Dice per case, and mean Dice over cases."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kitsseg.data.labels import KITS19, Labels

# {case: {"dice": {region: value or None}, "voxels": {region: [both, prediction, truth]},
#         "voxel_ml": volume of a voxel in ml}}
CaseScores = dict[str, dict[str, Any]]
# {"train": CaseScores, "validation": CaseScores}
SplitScores = dict[str, CaseScores]

CHUNK = 1 << 20  # voxels per call of `np.bincount`, which converts its input to int64


def volume_counts(
    prediction: NDArray[np.uint8], truth: NDArray[np.uint8], labels: Labels = KITS19
) -> NDArray[np.int64]:
    """Return ``[regions, 3]``: voxels of each region in both label volumes, prediction and truth."""
    table = confusion(prediction, truth, len(labels.classes))
    regions = [list(labels.ids(region)) for region in labels.regions]
    counts = [(table[np.ix_(r, r)].sum(), table[r].sum(), table[:, r].sum()) for r in regions]
    return np.array(counts, np.int64)


def confusion(
    prediction: NDArray[np.uint8], truth: NDArray[np.uint8], number: int = 3
) -> NDArray[np.int64]:
    """Return ``[number, number]``: voxels by class in prediction (rows) and truth (columns)."""
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction and truth: shapes {prediction.shape} and {truth.shape} differ")
    kind = np.uint8 if number**2 <= 256 else np.uint16
    joint = (prediction * kind(number) + truth).ravel()
    counts = np.zeros(number * number, np.int64)
    for start in range(0, joint.size, CHUNK):
        counts += np.bincount(joint[start : start + CHUNK], minlength=number * number)
    return counts.reshape(number, number)


def dice(counts: ArrayLike) -> NDArray[np.float64]:
    """Return ``2 * both / (prediction + truth)`` of ``[..., 3]`` voxels in both and in each of them.

    Dice is NaN where a region is absent from both (means skip NaN) and 0 where it is absent from one.
    """
    both, prediction, truth = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * both / (prediction + truth))


def mean_over_cases(values: ArrayLike) -> float:
    """Return the mean of the values that are not NaN, or NaN if there are none."""
    array = np.asarray(values, np.float64)  # None becomes NaN
    known = array[~np.isnan(array)]
    return float(known.mean()) if known.size else float("nan")


def case_mean(scores: CaseScores, region: str) -> float:
    """Return the mean Dice of ``region`` over the cases where it is defined."""
    return mean_over_cases([case["dice"][region] for case in scores.values()])
