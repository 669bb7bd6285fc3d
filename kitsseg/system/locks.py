"""File locks between processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

POLL_S = 0.2


class StoppedError(Exception):
    """Waiting for a lock was stopped."""


@contextmanager
def locked(target: Path, is_stopped: Callable[[], bool] | None = None) -> Iterator[None]:
    """Lock a file or folder against other processes; wait while another one holds it.

    The lock is a hidden file beside ``target``. It is released when its process ends, even if killed.
    Raises `StoppedError` if ``is_stopped`` returns true while waiting.
    """
    lock = filelock.FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(poll_interval=POLL_S, cancel_check=is_stopped)
    except filelock.Timeout as error:
        raise StoppedError from error
    try:
        yield
    finally:
        with suppress(OSError):  # where an open file cannot be deleted, release() deletes it
            Path(lock.lock_file).unlink()
        lock.release()
