"""A cluster's signals reach each process of a job; the one above the others answers them.

Another that ended by one would look like a failure, of a job that is about to be requeued.
"""

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
    """For a process that `multiprocessing` ends by SIGTERM: from its parent it is one, from others not.

    To be called before the process has threads; a fork may begin with some, see `withheld`.
    """
    for number in WARNINGS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_if_parents, daemon=True).start()


@contextmanager
def withheld() -> Iterator[None]:
    """Around a fork whose child is to `heed_parent`: what libraries start there heeds it, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_if_parents() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
