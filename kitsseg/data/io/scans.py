"""A scan of any origin as HU in KiTS19's orientation, checked for what CT can't be."""

from dataclasses import replace

import numpy as np

from kitsseg.data.io.hu_checks import ABOUT_OFFSET, OFFSET, is_offset
from kitsseg.data.io.nifti import EXPORT, Image, read_image
from kitsseg.data.io.scan import Scan
from kitsseg.data.io.voxels import INT16


def read_scan(scan: Scan, offset_hu: int = 0) -> Image:
    """The volume, with ``offset_hu`` added to each voxel.

    Raises:
        ValueError: one line that names the file, what is wrong and what helps.
    """
    if scan.files:
        from kitsseg.data.io.dicom import read_series

        image = read_series(scan)
    else:
        image = read_image(scan.path, EXPORT)
    if offset_hu:
        return shifted(image, offset_hu)
    if is_offset(image):
        raise ValueError(f"{scan.path}: {ABOUT_OFFSET}; if so, add offset_hu=-{OFFSET}")
    return image


def shifted(image: Image, offset_hu: int) -> Image:
    """The volume with ``offset_hu`` added, kept within int16."""
    for plane in image.hu:  # in place, a plane at a time
        plane[...] = np.clip(plane.astype(np.int32) + offset_hu, INT16.min, INT16.max)
    low, high = (int(np.clip(v + offset_hu, INT16.min, INT16.max)) for v in image.range_hu)
    return replace(image, range_hu=(low, high), stored_range=None)
