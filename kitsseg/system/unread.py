"""A command that ends quietly when nobody reads what it prints any more, as in ``| head``."""

import atexit
import os
import select
import signal
import sys
from contextlib import suppress


def end_quietly() -> None:
    """From here on this process ends as other commands do then: by SIGPIPE, 141 to a shell.

    Python ignores that signal and raises an error instead. Where a connection is lost it still does.
    """
    signal.signal(signal.SIGPIPE, _end_if_unread)
    atexit.register(_flush)


def _end_if_unread(number: int, frame: object) -> None:
    poll = select.poll()
    for output in (1, 2):
        poll.register(output, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):  # of a pipe: its reader has gone
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)


def _flush() -> None:
    """Print what is left while Python still answers signals."""
    with suppress(OSError, ValueError):
        if sys.stdout is not None:
            sys.stdout.flush()
