"""Writing files whole or not at all."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, with its ending, that becomes ``path`` when the block ends.

    A reader sees the old file or the new one. If the block fails, the temporary file goes.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Find out, before anything else is done, whether a file can be written to ``path``.

    Raises:
        OSError: it can't.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    trial = path.with_name(f".{os.getpid()}-{path.name}")
    trial.touch()
    trial.unlink()


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left under temporary names below a folder that nobody writes to."""
    for path in folder.rglob(".*"):
        if re.fullmatch(r"\.\d+-.+", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, values: Any) -> None:
    """Write plain values; NaN and infinity are none."""
    write_text(path, json.dumps(values, indent=1, allow_nan=False))
