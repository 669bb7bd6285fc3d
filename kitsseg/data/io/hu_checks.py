"""Whether a volume that was read is CT in HU: what is refused, and what is reported as a warning."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from kitsseg.data.io.nifti.read import Image

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


def checked(image: Image) -> Image:
    """Return ``image`` with all its warnings.

    Raises `ValueError` if it is not CT in HU. The message does not name the scan.
    """
    low, high = image.stored_range
    if low == high:
        raise ValueError("every voxel has the same value; export it again")
    spacing_mm, (least, most) = image.layout.spacing_mm, SPACING_LIMITS_MM
    if not all(least <= mm <= most for mm in spacing_mm):
        shown = ", ".join(f"{mm:.6g}" for mm in spacing_mm)
        raise ValueError(
            f"has a spacing of ({shown}) mm; must be between {least:g} and {most:g}; correct its header"
        )
    if (problem := _value_problem(low, high)) is not None:
        raise ValueError(problem)
    if is_offset(image.hu):
        raise ValueError(ABOUT_OFFSET)
    if low <= AIR_BELOW_HU:
        return image
    doubt = f"lowest value {low:.6g} HU: no air; check that the values are HU"
    return replace(image, warnings=(*image.warnings, doubt))


def is_offset(hu: npt.NDArray[np.int16]) -> bool:
    """Return whether the values look like HU + `OFFSET`, apart from padding."""
    sample = hu[:: max(1, len(hu) // 16), ::4, ::4].ravel()
    negative, counts = np.unique(sample[sample < NEGATIVE_HU], return_counts=True)
    padding = negative[np.argsort(counts)[-PADDING_VALUES:]]
    inside: npt.NDArray[np.int16] = sample[~np.isin(sample, padding)]
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
    return None
