"""Plausibility checks of spacing and HU values, used by verify and prepare."""

from pathlib import Path

from kitsseg.data.io.nifti import Image

SPACING_LIMITS_MM = (0.1, 50.0)  # KiTS19: 0.4375 to 5; a phantom with ten slices: 23
# HU never exceed int16. Padding of -32768 plus an intercept of -1024 falls below;
# clipping keeps it air.
HU_LIMITS = (-65536, 32767)
MIN_SPAN_HU = 100  # air and soft tissue are 1000 apart
OFFSET = 1024  # of CT stored as unsigned integers, where air is 0
SOFT_TISSUE = (924, 1224)  # range of soft tissue with the offset
MIN_SOFT_TISSUE = 0.05  # share of the voxels
# Each command adds its own remedy.
ABOUT_OFFSET = f"contains no value below 0 but many near {OFFSET}: probably CT stored with an offset"


def image_problems(path: Path, image: Image) -> list[str]:
    """Return why the volume cannot be used for training, one line per problem, with file and remedy."""
    return [f"{path}: {each}" for each in (_about_spacing(image), _about_values(image)) if each]


def is_offset(image: Image) -> bool:
    """Return whether the values look like HU + `OFFSET`: nothing below 0, soft tissue near `OFFSET`."""
    if image.range_hu[0] < 0:
        return False
    low, high = SOFT_TISSUE
    sample = image.hu[:: max(1, len(image.hu) // 16), ::4, ::4]
    return float(((sample >= low) & (sample <= high)).mean()) >= MIN_SOFT_TISSUE


def _about_spacing(image: Image) -> str:
    low, high = SPACING_LIMITS_MM
    spacing_mm = image.layout.spacing_mm
    if all(low <= mm <= high for mm in spacing_mm):
        return ""
    shown = ", ".join(f"{mm:.6g}" for mm in spacing_mm)
    return f"has a spacing of ({shown}) mm; must be between {low:g} and {high:g}; correct its header"


def _about_values(image: Image) -> str:
    low, high = image.range_hu if image.stored_range is None else image.stored_range
    found = f"contains values from {low:.6g} to {high:.6g}"
    if low < HU_LIMITS[0] or high > HU_LIMITS[1]:
        return f"{found}, outside the range of HU; correct its slope or export it again"
    if high - low >= MIN_SPAN_HU:
        return ""
    problem = f"{found}, less than {MIN_SPAN_HU} apart, so it is not CT in HU"
    if low == 0 and high <= 3 and float(high).is_integer():
        return f"{problem}; exchange image and label if they are swapped, or export it in HU"
    return f"{problem}; export it in HU, without normalisation"
