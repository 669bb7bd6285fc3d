"""Whether a volume that was read is CT in HU: what is refused, and what is reported as a warning."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

SPACING_LIMITS_MM = (0.1, 50.0)  # KiTS19: 0.4375 to 5; a phantom with ten slices: 23
# HU never exceed int16. Padding of -32768 plus an intercept of -1024 falls below;
# clipping keeps it air.
HU_LIMITS = (-65536, 32767)
MIN_SPAN_HU = 100  # air and soft tissue are 1000 apart
AIR_BELOW_HU = -500
OFFSET = 1024  # of CT stored as unsigned integers, where air is 0
SOFT_TISSUE = (924, 1224)  # range of soft tissue with the offset
MIN_SOFT_TISSUE = 0.05  # share of the voxels
# In HU, fat, lung and the noise of air are below -50 HU and have many values. With an offset, only
# padding is; it has one or two values.
NEGATIVE_HU, PADDING_VALUES, MAX_NEGATIVE = -50, 2, 0.02
ABOUT_OFFSET = (
    f"contains many values near {OFFSET} and none below 0 but padding: probably CT stored with an "
    f"offset; add offset_hu=-{OFFSET} (in a data set: source.offset_hu=-{OFFSET})"
)


def hu_problem(
    hu: npt.NDArray[np.int16], stored_range: tuple[float, float], spacing_mm: tuple[float, ...]
) -> str | None:
    """Return why a volume is not CT in HU, with the remedy; None if nothing speaks against it.

    Args:
        hu: ``[S, H, W]``.
        stored_range: lowest and highest value before rounding and clipping to int16.
        spacing_mm: of slices, rows and columns.
    """
    low, high = SPACING_LIMITS_MM
    if not all(low <= mm <= high for mm in spacing_mm):
        shown = ", ".join(f"{mm:.6g}" for mm in spacing_mm)
        return f"has a spacing of ({shown}) mm; must be between {low:g} and {high:g}; correct its header"
    return _value_problem(*stored_range) or (ABOUT_OFFSET if is_offset(hu) else None)


def hu_warnings(stored_range: tuple[float, float]) -> Iterator[str]:
    """Yield what is doubtful about the values of a volume without `hu_problem`."""
    if stored_range[0] > AIR_BELOW_HU:
        yield f"lowest value {stored_range[0]:.6g} HU: no air; check that the values are HU"


def is_offset(hu: npt.NDArray[np.int16]) -> bool:
    """Return whether the values look like HU + `OFFSET`, apart from padding."""
    sample = hu[:: max(1, len(hu) // 16), ::4, ::4].ravel()
    negative, counts = np.unique(sample[sample < NEGATIVE_HU], return_counts=True)
    padding = negative[np.argsort(counts)[-PADDING_VALUES:]]
    inside: npt.NDArray[Any] = sample[~np.isin(sample, padding)]
    if not len(inside) or (inside < NEGATIVE_HU).mean() > MAX_NEGATIVE:
        return False
    low, high = SOFT_TISSUE
    return float(((inside >= low) & (inside <= high)).mean()) >= MIN_SOFT_TISSUE


def _value_problem(low: float, high: float) -> str | None:
    found = f"contains values from {low:.6g} to {high:.6g}"
    if low < HU_LIMITS[0] or high > HU_LIMITS[1]:
        return f"{found}, outside the range of HU; correct its slope or export it again"
    if high - low < MIN_SPAN_HU:
        problem = f"{found}, less than {MIN_SPAN_HU} apart, so it is not CT in HU"
        if low == 0 and high <= 3 and float(high).is_integer():
            return f"{problem}; exchange image and label if they are swapped, or export it in HU"
        return f"{problem}; export it in HU, without normalisation"
    if low >= 0 and high <= 255:
        return f"{found}, like a picture with 8 bits, so it is not CT in HU; export it in HU"
    return None
