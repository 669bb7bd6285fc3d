"""Statistics of a case: pixels per slice and class, HU percentiles per class."""

from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import BACKGROUND, CLASSES

PERCENTILES = (5, 25, 50, 75, 95)
BACKGROUND_STEP = 16  # background HU are sampled at every 16th row and column


def pixels_by_slice(label: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the number of pixels per slice and class, ``[S, classes]``, of ``[S, H, W]`` class ids."""
    counts = [[np.count_nonzero(plane == c) for c in range(len(CLASSES))] for plane in label]
    return np.array(counts, np.int64)


def hu_percentiles(
    image: npt.NDArray[np.int16], label: npt.NDArray[np.uint8]
) -> dict[str, list[int] | None]:
    """Return the HU percentiles of each class, at `PERCENTILES`; None for an absent class.

    ``image`` and ``label`` are ``[S, H, W]``. The background is sampled; see `BACKGROUND_STEP`. Equal to
    NumPy's ``method="inverted_cdf"``.
    """
    sampled = (slice(None), slice(None, None, BACKGROUND_STEP), slice(None, None, BACKGROUND_STEP))
    values = {name: image[label == c] for c, name in enumerate(CLASSES) if c != BACKGROUND}
    background = image[sampled][label[sampled] == BACKGROUND]
    return {name: _percentiles(values.get(name, background)) for name in CLASSES}


def _percentiles(values: npt.NDArray[np.int16]) -> list[int] | None:
    if not len(values):
        return None
    lowest = int(values.min())
    reached = np.cumsum(np.bincount(values.astype(np.intp) - lowest))
    places: Any = np.searchsorted(reached, [len(values) * p / 100 for p in PERCENTILES])
    return [lowest + int(place) for place in places]
