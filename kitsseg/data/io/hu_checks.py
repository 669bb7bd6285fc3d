"""What no CT and no label of one can be, though its file is whole: the checks of verify and prepare."""

from pathlib import Path

from kitsseg.data.io.nifti import Image

SPACING_LIMITS_MM = (0.1, 50.0)  # KiTS19's lie in 0.4375-5; a phantom of ten slices has 23
# What would be clipped at int16's upper end isn't HU. Below its lower end lies padding of -32768 with an
# intercept of -1024, which clipping turns into as good an air.
HU_LIMITS = (-65536, 32767)
LEAST_SPAN_HU = 100  # from air to soft tissue it's ten times that
OFFSET = 1024  # that of CT stored as unsigned numbers, whose air is 0
# Where soft tissue lies then; and how much of a volume it must be to give that away.
SOFT_TISSUE, LEAST = (924, 1224), 0.05
# What is to be said then; the remedy is another for each command.
ABOUT_OFFSET = f"holds no value below 0, and much at about {OFFSET}: CT stored with an offset, it seems"


def image_problems(path: Path, image: Image) -> list[str]:
    """Why training can't use the volume: a line each, with the file and the remedy."""
    return [f"{path}: {each}" for each in (_about_spacing(image), _about_values(image)) if each]


def is_offset(image: Image) -> bool:
    """Whether the values look like HU + `OFFSET`: no air, but soft tissue where there's hard bone."""
    if image.range_hu[0] < 0:
        return False
    low, high = SOFT_TISSUE
    sample = image.hu[:: max(1, len(image.hu) // 16), ::4, ::4]
    return float(((sample >= low) & (sample <= high)).mean()) >= LEAST


def _about_spacing(image: Image) -> str:
    low, high = SPACING_LIMITS_MM
    spacing_mm = image.layout.spacing_mm
    if all(low <= mm <= high for mm in spacing_mm):
        return ""
    told = ", ".join(f"{mm:.6g}" for mm in spacing_mm)
    return f"has a spacing of ({told}) mm, outside {low:g}-{high:g}; correct its header"


def _about_values(image: Image) -> str:
    low, high = image.range_hu if image.stored_range is None else image.stored_range
    told = f"holds values from {low:.6g} to {high:.6g}"
    if low < HU_LIMITS[0] or high > HU_LIMITS[1]:
        return f"{told}, which no HU are; correct its slope or export it again"
    if high - low >= LEAST_SPAN_HU:
        return ""
    lacks = f"{told}, less than {LEAST_SPAN_HU} apart, so no CT in HU"
    if low == 0 and high <= 3 and float(high).is_integer():
        return f"{lacks}; exchange image and label if they are swapped, or export it in HU"
    return f"{lacks}; export it in HU, without normalising it"
