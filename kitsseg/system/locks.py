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

    The lock is a hidden file beside ``target``, released when its process ends, however that ends.
    Raises `StoppedError` if ``stop`` is set while waiting.
    """
    lock = filelock.FileLock(target.with_name(f".{target.name}.lock"))
    with suppress(filelock.Timeout):
        lock.acquire(timeout=0)
    if not lock.is_locked:
        note("waiting for another process that works on it")
    while not lock.is_locked:
        if stop.wait(POLL_S):
            raise StoppedError
        with suppress(filelock.Timeout):
            lock.acquire(timeout=0)
    try:
        yield
    finally:
        with suppress(OSError):  # on systems that keep open files, releasing removes it
            Path(lock.lock_file).unlink()
        lock.release()
