"""Scans read in their order, each while the one before it is being computed on."""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from kitsseg.data.io.nifti import Image
from kitsseg.data.io.scan import Scan
from kitsseg.data.io.scans import read_scan


class ReadAhead:
    """Gives each scan's volume by `take`; one more is in memory, or on its way, at any time."""

    def __init__(self, scans: Iterable[Scan], offset_hu: int = 0) -> None:
        self._scans, self._offset_hu = iter(scans), offset_hu
        # A thread does: decompressing and converting leave Python's lock to others.
        self._pool = ThreadPoolExecutor(1, "read")
        self._waiting: deque[Future[Image]] = deque()
        self._submit()

    def take(self) -> Image:
        """The next scan's volume.

        Raises:
            ValueError: it can't be used; see `kitsseg.data.io.scans.read_scan`.
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

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
