"""Whether a compressed volume is whole, found out without holding it."""

from importlib import import_module
from pathlib import Path
from typing import Any

zlib: Any
try:  # the same interface, several times as fast
    zlib = import_module("isal.isal_zlib")
except ImportError:
    zlib = import_module("zlib")

GZIP_MAGIC = b"\x1f\x8b"
NIFTI_HEADER_SIZES = {348, 540}  # versions 1 and 2; their first number says which
READ = 1 << 18  # compressed bytes read at once
WINDOW = 1 << 22  # decompressed bytes held at once


def check_nifti_gz(path: Path) -> None:
    """Decompress all of a ``.nii.gz`` and compare its checksums; nothing is kept.

    Raises:
        ValueError: it's cut off, damaged, or something else than a compressed NIfTI file.
    """
    with path.open("rb") as file:
        chunk = file.read(READ)
        if not chunk.startswith(GZIP_MAGIC):
            raise ValueError(f"{path.name} isn't gzip: it begins with {chunk[:24]!r}")
        start, stream = b"", zlib.decompressobj(wbits=31)
        try:
            while chunk:
                start += stream.decompress(chunk, WINDOW)[: 4 - len(start)]
                rest = stream.unused_data if stream.eof else stream.unconsumed_tail
                chunk = rest or file.read(READ)
                if stream.eof and chunk:  # a further stream follows; each has its own checksum
                    stream = zlib.decompressobj(wbits=31)
            while not stream.eof and stream.decompress(b"", WINDOW):
                pass  # what the limit on its output held back
        except zlib.error as error:
            raise ValueError(f"{path.name} is damaged ({error})") from error
        if not stream.eof:
            raise ValueError(f"{path.name} is cut off after {path.stat().st_size} bytes")
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")}
    if not sizes & NIFTI_HEADER_SIZES:
        raise ValueError(f"{path.name} holds no NIfTI volume: it begins with {start!r}")
