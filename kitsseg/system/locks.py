"""File locks between processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import filelock

POLL_S = 0.2


class StoppedError(Exception):
    """Waiting for a lock was stopped."""


@contextmanager
def locked(target: Path, stop: Event, note: Callable[[str], None]) -> Iterator[None]:
    """Lock a file or folder against other processes; call ``note`` and wait if another one holds it.

    The lock is a hidden file beside ``target``. It is released when its process ends, however that
    ends, and removed afterwards.

    Raises:
        StoppedError: ``stop`` was set while waiting.
    """
    lock = filelock.FileLock(target.with_name(f".{target.name}.lock"))
    noted = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if not noted:
                note("waiting for another process that works on it")
            noted = True
            if stop.wait(POLL_S):
                raise StoppedError from None
    try:
        yield
    finally:
        with suppress(OSError):  # on systems that keep open files, releasing removes it
            Path(lock.lock_file).unlink()
        lock.release()
