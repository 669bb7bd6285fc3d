"""What a case's voxels say in numbers: classes by slice, HU by class."""

from typing import Any

import cv2
import numpy as np

from kitsseg.data.labels import BACKGROUND, CLASSES

PERCENTILES = (5, 25, 50, 75, 95)
BACKGROUND_STEP = 16  # of rows and columns; its HU are looked at in one pixel of 256


def pixels_by_slice(label: np.ndarray) -> np.ndarray:
    """``[S, H, W]`` class ids -> ``[S, classes]``, how many pixels of each slice have each class."""
    counts = np.zeros((len(label), len(CLASSES)), np.int64)
    for plane, count in zip(label, counts, strict=True):
        if highest := plane.max():
            count[1 : highest + 1] = [np.count_nonzero(plane == c) for c in range(1, highest + 1)]
    counts[:, BACKGROUND] = label[0].size - counts.sum(axis=1)
    return counts


def hu_percentiles(image: np.ndarray, label: np.ndarray) -> dict[str, list[int] | None]:
    """The 5th, 25th, 50th, 75th and 95th percentile of each class's HU; None for an absent class.

    Args:
        image: ``[S, H, W]`` int16, HU.
        label: ``[S, H, W]`` class ids.

    A percentile is the least HU that at least so much of the class doesn't exceed. Of the background
    every 16th row and column is looked at.
    """
    coarse = (slice(None), slice(None, None, BACKGROUND_STEP), slice(None, None, BACKGROUND_STEP))
    values: list[list[np.ndarray]] = [[] for _ in CLASSES]
    values[BACKGROUND].append(image[coarse][label[coarse] == BACKGROUND])
    for plane, mask in zip(image, label, strict=True):
        left, top, width, height = cv2.boundingRect(mask)
        if width:
            box = slice(top, top + height), slice(left, left + width)
            hu, classes = plane[box], mask[box]
            for c in range(1, classes.max() + 1):
                values[c].append(hu[classes == c])
    pooled = (np.concatenate(each) if each else np.empty(0, np.int16) for each in values)
    return {name: _percentiles(each) for name, each in zip(CLASSES, pooled, strict=True)}


def _percentiles(values: np.ndarray) -> list[int] | None:
    if not len(values):
        return None
    lowest = int(values.min())
    reached = np.cumsum(np.bincount(values.astype(np.intp) - lowest))
    places: Any = np.searchsorted(reached, [len(values) * p / 100 for p in PERCENTILES])
    return [lowest + int(place) for place in places]
