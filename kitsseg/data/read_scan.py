"""A scan of any origin as HU in KiTS19's orientation, checked for what CT can't be."""

from dataclasses import replace

import numpy as np

from kitsseg.data.find_images import Scan
from kitsseg.data.nifti import EXPORT, Image, read_image
from kitsseg.data.voxels import INT16

OFFSET = 1024  # that of CT stored as unsigned numbers, whose air is 0
# Where soft tissue lies then; and how much of a volume it must be to give that away.
SOFT_TISSUE, LEAST = (924, 1224), 0.05


def read_scan(scan: Scan, offset_hu: int = 0) -> Image:
    """The volume, with ``offset_hu`` added to each voxel.

    Raises:
        ValueError: one line that names the file, what is wrong and what helps.
    """
    if scan.files:
        from kitsseg.data.dicom import read_series

        image = read_series(scan)
    else:
        image = read_image(scan.path, EXPORT)
    if offset_hu:
        return shifted(image, offset_hu)
    if is_offset(image):
        raise ValueError(
            f"{scan.path}: holds no value below 0, and much at about {OFFSET}: CT stored with an "
            f"offset, it seems; if so, add offset_hu=-{OFFSET}"
        )
    return image


def is_offset(image: Image) -> bool:
    """Whether the values look like HU + `OFFSET`: no air, but soft tissue where there's hard bone."""
    if image.range_hu[0] < 0:
        return False
    low, high = SOFT_TISSUE
    sample = image.hu[:: max(1, len(image.hu) // 16), ::4, ::4]
    return float(((sample >= low) & (sample <= high)).mean()) >= LEAST


def shifted(image: Image, offset_hu: int) -> Image:
    """The volume with ``offset_hu`` added, kept within int16."""
    for plane in image.hu:  # in place, a plane at a time
        plane[...] = np.clip(plane.astype(np.int32) + offset_hu, INT16.min, INT16.max)
    low, high = (int(np.clip(v + offset_hu, INT16.min, INT16.max)) for v in image.range_hu)
    return replace(image, range_hu=(low, high))
