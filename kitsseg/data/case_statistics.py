"""Statistics of a case: pixels per slice and class, HU percentiles per class."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import BACKGROUND, CLASSES

PERCENTILES = (5, 25, 50, 75, 95)
BACKGROUND_STEP = 16  # background HU are sampled at every 16th row and column


def pixels_by_slice(label: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the number of pixels per slice and class, ``[S, classes]``, of ``[S, H, W]`` class ids."""
    counts = np.zeros((len(label), len(CLASSES)), np.int64)
    for plane, count in zip(label, counts, strict=True):
        if highest := plane.max():
            count[1 : highest + 1] = [np.count_nonzero(plane == c) for c in range(1, highest + 1)]
    counts[:, BACKGROUND] = label[0].size - counts.sum(axis=1)
    return counts


def hu_percentiles(
    image: npt.NDArray[np.int16], label: npt.NDArray[np.uint8]
) -> dict[str, list[int] | None]:
    """Return the HU percentiles of each class, at `PERCENTILES`; None for an absent class.

    Equal to NumPy's ``method="inverted_cdf"``. The background is sampled; see `BACKGROUND_STEP`.

    Args:
        image: ``[S, H, W]`` HU.
        label: ``[S, H, W]`` class ids.
    """
    coarse = (slice(None), slice(None, None, BACKGROUND_STEP), slice(None, None, BACKGROUND_STEP))
    values: list[list[npt.NDArray[np.int16]]] = [[] for _ in CLASSES]
    values[BACKGROUND].append(image[coarse][label[coarse] == BACKGROUND])
    for plane, mask in zip(image, label, strict=True):
        left, top, width, height = cv2.boundingRect(mask)
        if width:
            box = slice(top, top + height), slice(left, left + width)
            hu, classes = plane[box], mask[box]
            for c in range(1, classes.max() + 1):
                values[c].append(hu[classes == c])
    pooled = (np.concatenate(parts) if parts else np.empty(0, np.int16) for parts in values)
    return {name: _percentiles(hu) for name, hu in zip(CLASSES, pooled, strict=True)}


def _percentiles(values: npt.NDArray[np.int16]) -> list[int] | None:
    if not len(values):
        return None
    lowest = int(values.min())
    reached = np.cumsum(np.bincount(values.astype(np.intp) - lowest))
    places: Any = np.searchsorted(reached, [len(values) * p / 100 for p in PERCENTILES])
    return [lowest + int(place) for place in places]
