"""Signals that a cluster sends to every process of a job, and the end of child processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CLUSTER_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)


def ignore_cluster_signals() -> None:
    """Ignore the signals by which a cluster announces the end of a job; the parent handles them."""
    # If this process ended by itself, a job that is about to be requeued would count as failed.
    for number in CLUSTER_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def follow_parent() -> None:
    """End this child process only when its parent ends or terminates it."""
    ignore_cluster_signals()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # an ignored signal cannot be waited for
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "not a process of multiprocessing"
    while parent.is_alive():
        received = signal.sigtimedwait({signal.SIGTERM}, 1)
        if received is not None and received.si_pid == parent.pid:
            break
    os._exit(0)


@contextmanager
def blocked(*numbers: signal.Signals) -> Iterator[None]:
    """Block signals; processes that are started within the block never receive them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
