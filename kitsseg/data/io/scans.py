"""The one place in which a file becomes a volume in HU: read, corrected by an offset, and checked."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from kitsseg.data.case import Case
from kitsseg.data.io.hu_checks import checked
from kitsseg.data.io.nifti.read import EXPORT, FETCH, Image, check_same_grid, read_mask, read_nifti
from kitsseg.data.io.scan import Scan


@dataclass(frozen=True)
class Volume:
    """A case in memory: ``[S, H, W]`` int16 HU and uint8 class ids; spacing of these axes."""

    image: npt.NDArray[np.int16]
    label: npt.NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


def read_case(case: Case) -> Volume:
    """Return image and label of a case; raise `ValueError` as `read_scan` does."""
    image = read_image(case.image, case.offset_hu)
    mask = read_mask(case.label, case.classes)
    check_same_grid(case.label, mask.layout, image.layout)
    return Volume(image.hu, mask.label, image.layout.spacing_mm)


def read_image(path: Path, offset_hu: int = 0, remedy: str = FETCH) -> Image:
    """Return the volume of a NIfTI file; see `read_scan`."""
    return read_scan(Scan(path.name, ".nii.gz", path), offset_hu, remedy)


def read_scan(scan: Scan, offset_hu: int = 0, remedy: str = EXPORT) -> Image:
    """Return a volume in HU, rounded to integers and clipped to int16.

    Args:
        scan: a NIfTI file or a DICOM series.
        offset_hu: added to each voxel.
        remedy: what the message proposes if a file is damaged.

    Raises:
        ValueError: the scan cannot be used. The message is one line with file, problem and remedy.
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


class ReadAhead:
    """Read scans in order; a thread reads the next one while the caller processes the current one."""

    def __init__(self, scans: Iterable[Scan], offset_hu: int = 0) -> None:
        self._scans, self._offset_hu = iter(scans), offset_hu
        # A thread is enough: decompression and conversion release the GIL.
        self._pool = ThreadPoolExecutor(1, "read")
        self._next = self._submit()

    def take(self) -> Image:
        """Return the volume of the next scan, or raise the `ValueError` of `read_scan`."""
        assert self._next is not None
        try:
            return self._next.result()
        finally:
            self._next = self._submit()

    def _submit(self) -> Future[Image] | None:
        scan = next(self._scans, None)
        return None if scan is None else self._pool.submit(read_scan, scan, self._offset_hu)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
