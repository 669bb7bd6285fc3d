"""Voxel counts per region from two label volumes, as exact integers."""

import numpy as np
from numpy.typing import NDArray

from kitsseg.data.labels import CLASSES, REGIONS

CHUNK = 1 << 20  # voxels per call of `np.bincount`, which converts its input to int64


def volume_counts(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return ``[regions, 3]``: voxels of each region in both volumes, the prediction and the truth.

    Args:
        prediction: ``[S, H, W]`` class ids.
        truth: ``[S, H, W]`` class ids.
    """
    table = confusion(prediction, truth)
    rows = []
    for classes in REGIONS.values():
        chosen = list(classes)
        rows.append([table[np.ix_(chosen, chosen)].sum(), table[chosen].sum(), table[:, chosen].sum()])
    return np.array(rows, np.int64)


def confusion(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return ``[classes, classes]``: voxels by class in prediction (rows) and truth (columns).

    Raises:
        ValueError: If the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction and truth: shapes {prediction.shape} and {truth.shape} differ")
    number = len(CLASSES)
    joint = (prediction * np.uint8(number) + truth).ravel()
    counts = np.zeros(number * number, np.int64)
    for start in range(0, joint.size, CHUNK):
        counts += np.bincount(joint[start : start + CHUNK], minlength=number * number)
    return counts.reshape(number, number)
