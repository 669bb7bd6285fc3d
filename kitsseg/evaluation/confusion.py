"""How many voxels of each region two label volumes share, without torch: integers."""

import numpy as np

from kitsseg.data.labels import CLASSES, REGIONS

CHUNK = 1 << 20  # voxels counted at once: `np.bincount` makes eight bytes of each


def volume_counts(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Voxels of each region in both, in the prediction and in the truth.

    Args:
        prediction, truth: ``[S, H, W]`` uint8 class ids.

    Returns:
        ``[regions, 3]`` int64, as `kitsseg.training.pixel_counts.region_counts` of a single case.
    """
    table = confusion(prediction, truth)
    rows = []
    for classes in REGIONS.values():
        chosen = list(classes)
        rows.append([table[np.ix_(chosen, chosen)].sum(), table[chosen].sum(), table[:, chosen].sum()])
    return np.array(rows, np.int64)


def confusion(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """``[classes, classes]`` int64: voxels by class in the prediction (rows) and in the truth."""
    if prediction.shape != truth.shape:
        raise ValueError(f"shapes {prediction.shape} and {truth.shape} differ; compare one grid only")
    number = len(CLASSES)
    joint = (prediction * np.uint8(number) + truth).ravel()
    counts = np.zeros(number * number, np.int64)
    for start in range(0, joint.size, CHUNK):
        counts += np.bincount(joint[start : start + CHUNK], minlength=number * number)
    return counts.reshape(number, number)
