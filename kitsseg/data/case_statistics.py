"""Statistics of a case: pixels per slice and class, HU percentiles per class, HU of the foreground."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import BACKGROUND

PERCENTILES = (5, 25, 50, 75, 95)
BACKGROUND_STEP = 16  # background HU are sampled at every 16th row and column


def pixels_by_slice(label: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.int64]:
    """Return the number of pixels per slice and class, ``[S, classes]``, of ``[S, H, W]`` class ids."""
    counts = [[np.count_nonzero(plane == c) for c in range(classes)] for plane in label]
    return np.array(counts, np.int64)


def hu_percentiles(
    image: npt.NDArray[np.int16], label: npt.NDArray[np.uint8], classes: Sequence[str]
) -> dict[str, list[int] | None]:
    """Return the HU percentiles of each class by name, at `PERCENTILES`; None for an absent class.

    ``image`` and ``label`` are ``[S, H, W]``. The background is sampled; see `BACKGROUND_STEP`.
    """
    coarse = np.s_[:, ::BACKGROUND_STEP, ::BACKGROUND_STEP]
    background = image[coarse][label[coarse] == BACKGROUND]
    values = (background, *(image[label == c] for c in range(BACKGROUND + 1, len(classes))))
    return {
        name: np.percentile(hu, PERCENTILES, method="inverted_cdf").tolist() if len(hu) else None
        for name, hu in zip(classes, values, strict=True)
    }


def foreground_histogram(
    image: npt.NDArray[np.int16], label: npt.NDArray[np.uint8]
) -> tuple[list[int], list[int]]:
    """Return the HU of all classes but the background, sorted, and the number of voxels of each."""
    hu, counts = np.unique(image[label != BACKGROUND], return_counts=True)
    return hu.tolist(), counts.tolist()
