"""The process that those that load slices are forks of. Begun early, it imports while others do, too."""

import multiprocessing
import signal
import sys
from multiprocessing import forkserver, resource_tracker

from kitsseg import signals

CONTEXT = multiprocessing.get_context("forkserver")


def start() -> None:
    """Begin it, with what each fork of it would import by itself, if it hasn't begun."""
    main = getattr(sys.modules["__main__"], "__spec__", None)
    CONTEXT.set_forkserver_preload(["kitsseg.data.loader", *([main.name] if main else [])])
    # Nor does the terminal's interrupt end it, or make it say so: this process answers that.
    with signals.withheld(signal.SIGINT):
        resource_tracker.ensure_running()  # which lets signals in again
    with signals.withheld(signal.SIGINT):
        forkserver.ensure_running()
