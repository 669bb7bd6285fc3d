"""Ctrl-C while a command is still importing: a line and exit code 130, as it is later."""

import os
import signal
from types import FrameType

from kitsseg.system import invoked


def end_early() -> None:
    """If ``python -m kitsseg.COMMAND`` is about to import it, an interrupt ends it at once.

    Nothing has begun by then that could be lost, and an exception in the middle of an import would be
    a page of text, of whatever became of it on its way. Whoever ignores interrupts goes on doing so.
    """
    if invoked.command() and signal.getsignal(signal.SIGINT) is DEFAULT:
        signal.signal(signal.SIGINT, _end)


def as_ever() -> None:
    """From here on an interrupt is a `KeyboardInterrupt` again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, DEFAULT)


DEFAULT = signal.default_int_handler


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{invoked.named()}: interrupted; nothing was begun\n".encode())
    os._exit(130)
