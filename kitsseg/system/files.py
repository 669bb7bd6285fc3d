"""Atomic writing of files, and what identifies a file."""

import csv
import errno
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``. Its file replaces ``path`` if the block succeeds."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise `OSError` unless a file can be written to ``path``."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    trial = path.with_name(f".{os.getpid()}-{path.name}")
    trial.touch()
    trial.unlink()


def files_below(root: Path, onerror: Callable[[OSError], object] | None = None) -> Iterator[Path]:
    """Yield all files below ``root`` except hidden ones, in order of their names; links are followed.

    A folder with several links is visited once. ``onerror`` gets the error of an unreadable folder.
    """
    visited = set()
    for place, folders, names in os.walk(root, onerror=onerror, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:  # a link to a folder above or beside
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files of killed processes below a folder that no process writes to."""
    for path in folder.rglob(".*"):
        if re.fullmatch(r"\.\d+-.+", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8; undecodable bytes of file names are preserved."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file with these columns; cells of keys that a row lacks are empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, out.getvalue())


def write_json(path: Path, values: Any) -> None:
    """Write plain values as JSON; NaN and infinity raise `ValueError`."""
    write_text(path, json.dumps(values, indent=1, allow_nan=False))


def fingerprint(*paths: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; for several files, the SHA-256 of their digests."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").digest())
    return (digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(digests)).digest()).hex()


def file_version(path: Path) -> list[int]:
    """Return size in bytes and modification time in ns of a file."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
