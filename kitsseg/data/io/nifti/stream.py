"""Sequential reading of plain or gzip-compressed files in bounded memory."""

import os
from pathlib import Path
from typing import Any, Self

from isal import igzip, isal_zlib

GZIP_MAGIC = b"\x1f\x8b"
WINDOW = 1 << 20  # decompressed bytes in memory at once
MAX_RATIO = 1032  # upper limit of deflate's compression ratio
GzipError: Any = (igzip.BadGzipFile, isal_zlib.error)  # the stub declares an instance


class DamagedError(ValueError):
    """The data is truncated or cannot be decompressed. The message does not name the file."""


def header_size(start: bytes) -> int:
    """Return 348 for NIfTI-1 or 540 for NIfTI-2, with which a file starts; 0 for other files."""
    numbers = {int.from_bytes(start[:4], order) for order in ("little", "big")}
    return next((size for size in (348, 540) if size in numbers), 0)


class Stream:
    """Contents of a file, decompressed if it is gzip; at most ``max_bytes``, derived from its size.

    The ``with`` statement raises `DamagedError` if the data read in it are truncated or corrupt gzip.
    """

    def __init__(self, path: Path) -> None:
        self._raw = path.open("rb")
        self._size = os.fstat(self._raw.fileno()).st_size
        self.is_gzip = self._raw.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        self.max_bytes = self._size * (MAX_RATIO if self.is_gzip else 1)
        self._file: Any = igzip.IGzipFile(fileobj=self._raw) if self.is_gzip else self._raw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._raw.close()
        if isinstance(error, EOFError):
            raise DamagedError(f"is truncated after {self._size} bytes") from error
        if isinstance(error, GzipError):
            raise DamagedError(f"is damaged ({error})") from error

    def start(self, count: int) -> bytes:
        """Return the first ``count`` bytes, or all of a shorter file, and rewind."""
        start = bytes(self._file.read(count))
        self._file.seek(0)
        return start

    def skip(self, count: int) -> None:
        """Continue after the first ``count`` bytes."""
        self._file.seek(count)

    def fill(self, buffer: memoryview) -> None:
        """Read ``len(buffer)`` bytes into ``buffer``; raise `DamagedError` if fewer are left."""
        while len(buffer):
            if not (count := self._file.readinto(buffer)):
                raise DamagedError("ends before the last voxel")
            buffer = buffer[count:]

    def finish(self) -> None:
        """Read to the end, which verifies every checksum."""
        while self._file.read(WINDOW):
            pass


def check_nifti_gz(path: Path) -> None:
    """Raise `ValueError` if a ``.nii.gz`` file is truncated, damaged or not a compressed NIfTI file."""
    try:
        with Stream(path) as stream:
            if not stream.is_gzip:
                raise DamagedError(f"is not a gzip file: it starts with {stream.start(24)!r}")
            start = stream.start(4)
            stream.finish()
    except DamagedError as error:
        raise ValueError(f"{path.name} {error}") from error
    if not header_size(start):
        raise ValueError(f"{path.name} is not a NIfTI file: its data starts with {start!r}")
