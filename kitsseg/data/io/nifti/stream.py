"""Sequential reading of plain or gzip-compressed files in bounded memory."""

import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, Self

from isal import isal_zlib

GZIP_MAGIC = b"\x1f\x8b"
READ = 1 << 18  # bytes read from the file at once
WINDOW = 1 << 22  # decompressed bytes in memory at once
MAX_RATIO = 1032  # upper limit of deflate's compression ratio
ZlibError: Any = isal_zlib.error  # the stub declares an instance


class DamagedError(ValueError):
    """The data is truncated or cannot be decompressed. The message does not name the file."""


def header_size(start: bytes) -> int:
    """Return 348 for NIfTI-1 or 540 for NIfTI-2, with which a file starts; 0 for other files."""
    numbers = {int.from_bytes(start[:4], order) for order in ("little", "big")}
    return next((size for size in (348, 540) if size in numbers), 0)


def decompressed(file: BufferedReader) -> Iterator[bytes]:
    """Yield the contents of a file, decompressed if it is gzip, in pieces of at most `WINDOW` bytes.

    Raises:
        DamagedError: the gzip data is truncated, or its checksum or structure is wrong.
    """
    chunk = file.read(READ)
    if not chunk.startswith(GZIP_MAGIC):
        while chunk:
            yield chunk
            chunk = file.read(READ)
        return
    stream = isal_zlib.decompressobj(wbits=31)
    try:
        while chunk:
            yield stream.decompress(chunk, WINDOW)
            rest = stream.unused_data.lstrip(b"\0") if stream.eof else stream.unconsumed_tail
            chunk = rest or file.read(READ)
            if stream.eof and (chunk := chunk.lstrip(b"\0")):
                # Another gzip member follows. Zeros between members are padding.
                stream = isal_zlib.decompressobj(wbits=31)
        while not stream.eof and (pending := stream.decompress(b"", WINDOW)):
            yield pending
    except ZlibError as error:
        raise DamagedError(f"is damaged ({error})") from error
    if not stream.eof:
        raise DamagedError(f"is truncated after {os.fstat(file.fileno()).st_size} bytes")


class Stream:
    """Reader over `decompressed`, used as a context manager.

    Attributes:
        is_gzip: whether the file is compressed.
        max_bytes: upper limit of the decompressed size, derived from the file size.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.is_gzip = self._file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        self.max_bytes = os.fstat(self._file.fileno()).st_size * (MAX_RATIO if self.is_gzip else 1)
        self._chunks = decompressed(self._file)
        self._pending = memoryview(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def peek(self, count: int) -> bytes:
        """Return the next ``count`` bytes, or fewer at the end, without consuming them."""
        while len(self._pending) < count and (chunk := next(self._chunks, None)) is not None:
            self._pending = memoryview(bytes(self._pending) + chunk)
        return bytes(self._pending[:count])

    def skip(self, count: int) -> None:
        """Skip ``count`` bytes; raise `DamagedError` if fewer are left."""
        while count:
            count -= len(self._take(count))

    def fill(self, buffer: memoryview) -> None:
        """Read ``len(buffer)`` bytes into ``buffer``; raise `DamagedError` if fewer are left."""
        done = 0
        while done < len(buffer):
            piece = self._take(len(buffer) - done)
            buffer[done : done + len(piece)] = piece
            done += len(piece)

    def finish(self) -> None:
        """Read to the end, which verifies every checksum."""
        for _ in self._chunks:
            pass

    def _take(self, count: int) -> memoryview:
        while not self._pending:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise DamagedError("ends before the last voxel")
            self._pending = memoryview(chunk)
        piece, self._pending = self._pending[:count], self._pending[count:]
        return piece


def check_nifti_gz(path: Path) -> None:
    """Check that a ``.nii.gz`` file is complete, by decompressing all of it in bounded memory.

    Raises:
        ValueError: the file is truncated, damaged or not a compressed NIfTI file.
    """
    try:
        with Stream(path) as stream:
            if not stream.is_gzip:
                raise DamagedError(f"is not a gzip file: it starts with {stream.peek(24)!r}")
            start = stream.peek(4)
            stream.finish()
    except DamagedError as error:
        raise ValueError(f"{path.name} {error}") from error
    if not header_size(start):
        raise ValueError(f"{path.name} is not a NIfTI file: its data starts with {start!r}")
