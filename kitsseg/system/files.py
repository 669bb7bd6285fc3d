"""Writing files whole or not at all."""

import errno
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

YOUNG_S = 60  # seconds, in which a file is written


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


def remove_abandoned(folder: Path) -> None:
    """Remove temporary files directly in ``folder`` whose process has gone.

    A process of another machine that shares the folder can't be asked, so what is young stays.
    """
    for path in folder.glob(".*"):
        match = re.fullmatch(r"\.(\d+)-.+", path.name)
        with suppress(OSError):
            if match and _is_gone(int(match[1])) and time.time() - path.stat().st_mtime > YOUNG_S:
                path.unlink()


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it's another user's, or no number of a process
        return False
    return False


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, values: Any) -> None:
    """Write plain values; NaN and infinity are none."""
    write_text(path, json.dumps(values, indent=1, allow_nan=False))
