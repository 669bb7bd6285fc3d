"""Whether a compressed volume is whole, found out without holding it."""

from pathlib import Path

from kitsseg.data.io.stream import GZIP_MAGIC, DamagedError, Stream

NIFTI_HEADER_SIZES = {348, 540}  # versions 1 and 2; their first number says which


def check_nifti_gz(path: Path) -> None:
    """Decompress all of a ``.nii.gz`` and compare its checksums; nothing is kept.

    Raises:
        ValueError: it's cut off, damaged, or something else than a compressed NIfTI file.
    """
    with path.open("rb") as file:
        start = file.read(24)
    if not start.startswith(GZIP_MAGIC):
        raise ValueError(f"{path.name} isn't gzip: it begins with {start!r}")
    try:
        with Stream(path) as stream:
            start = stream.peek(4)
            stream.finish()
    except DamagedError as error:
        raise ValueError(f"{path.name} {error}") from error
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")}
    if not sizes & NIFTI_HEADER_SIZES:
        raise ValueError(f"{path.name} holds no NIfTI volume: it begins with {start!r}")
