"""Read files as checked volumes in HU; no other module does this."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kitsseg.data.case import EXPORT, FETCH
from kitsseg.data.io.nifti.read import Image, read_nifti
from kitsseg.data.io.scan import Scan

SPACING_LIMITS_MM = (0.1, 50.0)  # KiTS19: 0.4375 to 5; a phantom with ten slices: 23
# HU never exceed int16. Padding of -32768 plus an intercept of -1024 falls below; clipped, it is air.
HU_LIMITS = (-65536, 32767)
MIN_SPAN_HU = 100  # air and soft tissue are 1000 apart
AIR_BELOW_HU = -500
MIN_BODY = 1e-3  # share of the voxels above it
OFFSET = 1024  # offset of CT stored as unsigned integers, where air is 0
SOFT_TISSUE = (924, 1224)  # range of soft tissue with the offset
MIN_SOFT_TISSUE = 0.05  # share of the voxels
# In HU, fat, lung and the noise of air are below -50 HU and have many values. With an offset, only
# padding is; it has one or two values.
NEGATIVE_HU, PADDING_VALUES, MAX_NEGATIVE = -50, 2, 0.02
ABOUT_OFFSET = (
    f"contains many values near {OFFSET} and none below 0 but padding: probably CT stored with an "
    f"offset; add offset_hu=-{OFFSET} to predict, source.offset_hu=-{OFFSET} to verify and evaluate, or "
    f"data.source.offset_hu=-{OFFSET} to prepare and train"
)


def read_image(path: Path, offset_hu: int = 0, remedy: str = FETCH) -> Image:
    """Return the volume of a NIfTI file; see `read_scan`."""
    return read_scan(Scan(path.name, ".nii.gz", path), offset_hu, remedy)


def read_scan(scan: Scan, offset_hu: int = 0, remedy: str = EXPORT) -> Image:
    """Return a NIfTI file or DICOM series in HU plus ``offset_hu``, as integers clipped to int16.

    Raises `ValueError` if it cannot be used. The message is one line with file, problem and remedy;
    ``remedy`` is that for a damaged file.
    """
    if scan.files:
        from kitsseg.data.io.dicom import read_series

        image = read_series(scan, offset_hu)
    else:
        image = read_nifti(scan.path, remedy, offset_hu)
    try:
        return checked(image)
    except ValueError as error:
        raise ValueError(f"{scan.label}: {error}") from error


def read_ahead(scans: Sequence[Scan], offset_hu: int = 0) -> Iterator[Future[Image]]:
    """Yield the result of `read_scan` for each scan; a thread already reads the next one."""
    # A thread is enough: decompression and conversion release the GIL.
    with ThreadPoolExecutor(1, "read") as pool:
        current = None
        for scan in (*scans, None):
            following = None if scan is None else pool.submit(read_scan, scan, offset_hu)
            if current is not None:
                yield current
            current = following


def checked(image: Image) -> Image:
    """Return ``image`` with all its warnings.

    Raises `ValueError` if it is not CT in HU. The message does not name the scan.
    """
    low, high = image.stored_range
    found = f"contains values from {low:.6g} to {high:.6g}"
    spacing_mm, (least, most) = image.layout.spacing_mm, SPACING_LIMITS_MM
    if low == high:
        raise ValueError("every voxel has the same value; export it again")
    if not all(least <= mm <= most for mm in spacing_mm):
        shown = ", ".join(f"{mm:.6g}" for mm in spacing_mm)
        limits = f"must be between {least:g} and {most:g}"
        raise ValueError(f"has a spacing of ({shown}) mm; {limits}; correct its header")
    if low < HU_LIMITS[0] or high > HU_LIMITS[1]:
        raise ValueError(f"{found}, outside the range of HU; correct its slope or export it again")
    if high - low < MIN_SPAN_HU:
        is_label = low == 0 and high <= 3 and float(high).is_integer()
        swapped = "exchange image and label if they are swapped, or export it in HU"
        remedy = swapped if is_label else "export it in HU, without normalisation"
        raise ValueError(f"{found}, less than {MIN_SPAN_HU} apart, so it is not CT in HU; {remedy}")
    sample = image.hu[:: max(1, len(image.hu) // 16), ::4, ::4]
    if is_offset(sample):
        raise ValueError(ABOUT_OFFSET)
    if (sample > AIR_BELOW_HU).mean() < MIN_BODY:
        raise ValueError(
            f"{found}, almost all below {AIR_BELOW_HU} HU: there is no body; correct its slope, "
            "intercept or offset_hu"
        )
    if low <= AIR_BELOW_HU:
        return image
    doubt = f"lowest value {low:.6g} HU: no air; check that the values are HU"
    return replace(image, warnings=(*image.warnings, doubt))


def is_offset(sample: npt.NDArray[np.int16]) -> bool:
    """Return whether the values look like HU + `OFFSET`, apart from padding."""
    negative, counts = np.unique(sample[sample < NEGATIVE_HU], return_counts=True)
    padding = negative[np.argsort(counts)[-PADDING_VALUES:]]
    inside: npt.NDArray[np.int16] = sample[~np.isin(sample, padding)]
    if not len(inside) or (inside < NEGATIVE_HU).mean() > MAX_NEGATIVE:
        return False
    low, high = SOFT_TISSUE
    return float(((inside >= low) & (inside <= high)).mean()) >= MIN_SOFT_TISSUE
