"""Reading of scans in any supported format, one after the other or one ahead."""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from kitsseg.data.io.hu_checks import ABOUT_OFFSET, OFFSET, is_offset
from kitsseg.data.io.nifti import EXPORT, Image, read_image
from kitsseg.data.io.scan import Scan
from kitsseg.data.io.voxels import INT16


def read_scan(scan: Scan, offset_hu: int = 0) -> Image:
    """Return the volume in HU, with ``offset_hu`` added to each voxel.

    Raises:
        ValueError: the scan cannot be used. The message is one line with file, problem and remedy.
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
    """Add ``offset_hu`` to the volume in place, clip to int16, and return the new `Image`."""
    for plane in image.hu:  # one plane at a time, to bound memory
        plane[...] = np.clip(plane.astype(np.int32) + offset_hu, INT16.min, INT16.max)
    low, high = (int(np.clip(v + offset_hu, INT16.min, INT16.max)) for v in image.range_hu)
    return replace(image, range_hu=(low, high), stored_range=None)


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
