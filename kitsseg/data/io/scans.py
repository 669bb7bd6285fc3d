"""The one place in which a file becomes a volume in HU: read, corrected by an offset, and checked."""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from kitsseg.data.case import Case
from kitsseg.data.io.hu_checks import hu_problem, hu_warnings
from kitsseg.data.io.nifti.read import EXPORT, FETCH, Image, check_same_grid, read_mask, read_nifti
from kitsseg.data.io.nifti.voxels import INT16
from kitsseg.data.io.scan import Scan


@dataclass(frozen=True)
class Volume:
    """A case in memory.

    Attributes:
        image: ``[S, H, W]`` int16 HU.
        label: ``[S, H, W]`` uint8 class ids.
        spacing_mm: spacing of slices, rows and columns.
    """

    image: npt.NDArray[np.int16]
    label: npt.NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


def read_case(case: Case) -> Volume:
    """Return image and label of a case.

    Raises:
        ValueError: a file cannot be used. The message is one line with file, problem and remedy.
    """
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

        image = read_series(scan)
    else:
        image = read_nifti(scan.path, remedy)
    try:
        return checked(image if offset_hu == 0 else shifted(image, offset_hu))
    except ValueError as error:
        raise ValueError(f"{scan.label}: {error}") from error


def checked(image: Image) -> Image:
    """Return ``image`` with all its warnings.

    Raises:
        ValueError: it is not CT in HU. The message does not name the scan.
    """
    if image.stored_range[0] == image.stored_range[1]:
        raise ValueError("every voxel has the same value; export it again")
    problem = hu_problem(image.hu, image.stored_range, image.layout.spacing_mm)
    if problem is not None:
        raise ValueError(problem)
    return replace(image, warnings=(*image.warnings, *hu_warnings(image.stored_range)))


def shifted(image: Image, offset_hu: int) -> Image:
    """Add ``offset_hu`` to the volume in place, clip to int16, and return the new `Image`."""
    for plane in image.hu:  # one plane at a time, to bound memory
        plane[...] = np.clip(plane.astype(np.int32) + offset_hu, INT16.min, INT16.max)
    low, high = image.stored_range
    return replace(image, stored_range=(low + offset_hu, high + offset_hu))


class ReadAhead:
    """Read scans in order; a thread reads the next one while the caller processes the current one."""

    def __init__(self, scans: Iterable[Scan], offset_hu: int = 0) -> None:
        self._scans, self._offset_hu = iter(scans), offset_hu
        # A thread is enough: decompression and conversion release the GIL.
        self._pool = ThreadPoolExecutor(1, "read")
        self._waiting: deque[Future[Image]] = deque()
        self._submit()

    def take(self) -> Image:
        """Return the volume of the next scan.

        Raises:
            ValueError: the scan cannot be used; see `read_scan`.
        """
        future = self._waiting.popleft()
        try:
            return future.result()
        finally:
            self._submit()

    def _submit(self) -> None:
        for scan in self._scans:
            self._waiting.append(self._pool.submit(read_scan, scan, self._offset_hu))
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
