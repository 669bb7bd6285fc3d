"""A file's bytes in order, decompressed as they are read; nothing of it is held for long."""

import os
from collections.abc import Generator
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any

from isal import isal_zlib

GZIP_MAGIC = b"\x1f\x8b"
READ = 1 << 18  # bytes read from the file at once
WINDOW = 1 << 22  # decompressed bytes held at once
MAX_RATIO = 1032  # deflate can't pack tighter
ZlibError: Any = isal_zlib.error  # its stub gives an instance


class DamagedError(ValueError):
    """The bytes end early or can't be decompressed; the message lacks the file's name."""


def decompressed(file: BufferedReader) -> Generator[bytes, None, None]:
    """The contents in pieces of at most `WINDOW` bytes, of a gzip file decompressed.

    Raises:
        DamagedError: the gzip data is cut off, or its checksum or structure is wrong.
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
                # A further stream follows (zeros only fill up); each has its own checksum.
                stream = isal_zlib.decompressobj(wbits=31)
        while not stream.eof and (held := stream.decompress(b"", WINDOW)):
            yield held  # what the limit on its output held back
    except ZlibError as error:
        raise DamagedError(f"is damaged ({error})") from error
    if not stream.eof:
        raise DamagedError(f"is cut off after {os.fstat(file.fileno()).st_size} bytes")


class Stream:
    """`decompressed` as a thing to read from; closes its file at the end of a ``with`` block.

    ``most_bytes`` is how many bytes the contents can have at most, by the file's own size.

    Raises:
        OSError: the file can't be read.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        packed = self._file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        self.most_bytes = os.fstat(self._file.fileno()).st_size * (MAX_RATIO if packed else 1)
        self._chunks = decompressed(self._file)
        self._held = memoryview(b"")

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._chunks.close()
        self._file.close()

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes, or as many as are left; they stay to be read."""
        while len(self._held) < count and (chunk := next(self._chunks, None)) is not None:
            self._held = memoryview(bytes(self._held) + chunk)
        return bytes(self._held[:count])

    def skip(self, count: int) -> None:
        """Leave out ``count`` bytes.

        Raises:
            DamagedError: there are fewer.
        """
        assert count >= 0
        while count:
            count -= len(self._take(count))

    def fill(self, buffer: memoryview) -> None:
        """Read as many bytes as ``buffer`` (of bytes) has.

        Raises:
            DamagedError: there are fewer.
        """
        done = 0
        while done < len(buffer):
            piece = self._take(len(buffer) - done)
            buffer[done : done + len(piece)] = piece
            done += len(piece)

    def finish(self) -> int:
        """Read to the end, so that every checksum is compared; how many bytes there still were."""
        left = len(self._held) + sum(map(len, self._chunks))
        self._held = memoryview(b"")
        return left

    def _take(self, count: int) -> memoryview:
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise DamagedError("ends before its last voxel")
            self._held = memoryview(chunk)
        piece, self._held = self._held[:count], self._held[count:]
        return piece
