"""A cluster's signals reach each process of a job; the one above the others answers them.

Another that ended by one would look like a failure, of a job that is about to be requeued.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)


def ignore() -> None:
    """For a process that ends when the pipe from the one above it closes."""
    for number in (*WARNINGS, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def heed_parent() -> None:
    """For a process of `multiprocessing`: SIGTERM ends it if its parent sends it, and so does its end.

    To be called before the process has threads; if it may begin with some, see `withheld`.
    """
    for number in WARNINGS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_parent, daemon=True).start()


@contextmanager
def withheld(*more: signal.Signals) -> Iterator[None]:
    """Around the start of a process that is to `heed_parent`: none of them ends it before that.

    Args:
        more: signals that it doesn't get either, ever.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, *WARNINGS, *more})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()  # not os.getppid(), which may be a server of forks
    assert parent is not None, "not a process of multiprocessing"
    while parent.is_alive():
        said = signal.sigtimedwait({signal.SIGTERM}, 1)
        if said is not None and said.si_pid == parent.pid:
            break
    os._exit(0)
