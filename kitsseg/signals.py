"""A cluster's signals reach each process of a job; the one above the others answers them.

Another that ended by one would look like a failure, of a job that is about to be requeued.
"""

import os
import signal
import threading

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)


def ignore() -> None:
    """For a process that ends when the pipe from the one above it closes."""
    for number in (*WARNINGS, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def heed_parent() -> None:
    """For a process that `multiprocessing` ends by SIGTERM: from its parent it is one, from others not.

    To be called before the process has threads.
    """
    for number in WARNINGS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_if_parents, daemon=True).start()


def _end_if_parents() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
