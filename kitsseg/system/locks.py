"""One process at a time on one file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import filelock

LOCK_POLL_S = 0.2


class StoppedError(Exception):
    """Someone set the event to stop."""


@contextmanager
def locked(target: Path, stop: Event, note: Callable[[str], None]) -> Iterator[None]:
    """Hold ``target`` against other processes; wait for one that holds it already.

    The lock ends with its process, however that ends. Its hidden file goes before it is let go: who has
    opened that one by then sees that it is gone, and begins again with a new one.

    Raises:
        StoppedError: ``stop`` was set while it waited.
    """
    lock = filelock.FileLock(target.with_name(f".{target.name}.lock"))
    told = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if not told:
                note("another process is at it; waiting")
            told = True
            if stop.wait(LOCK_POLL_S):
                raise StoppedError from None
    try:
        yield
    finally:
        with suppress(OSError):  # where an open file can't be removed, releasing does it
            Path(lock.lock_file).unlink()
        lock.release()
