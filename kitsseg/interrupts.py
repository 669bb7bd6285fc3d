"""Ctrl-C while a command is still importing: a line and exit code 130, as it is later."""

import os
import signal
import sys
from types import FrameType


def end_early() -> None:
    """If ``python -m kitsseg.COMMAND`` is about to import it, an interrupt ends it at once.

    Nothing has begun by then that could be lost, and an exception in the middle of an import would be
    a page of text, of whatever became of it on its way. Whoever ignores interrupts goes on doing so.
    """
    # Python says -m while it looks for the module, that is, while it imports the package.
    if sys.argv[:1] == ["-m"] and _command() and signal.getsignal(signal.SIGINT) is DEFAULT:
        signal.signal(signal.SIGINT, _end)


def as_ever() -> None:
    """From here on an interrupt is a `KeyboardInterrupt` again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, DEFAULT)


DEFAULT = signal.default_int_handler


def _command() -> str:
    """What of ours is run as a module; empty if it is someone else's."""
    given = zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
    return next((name for flag, name in given if flag == "-m" and name.startswith("kitsseg.")), "")


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{_command()}: interrupted; nothing was begun\n".encode())
    os._exit(130)
