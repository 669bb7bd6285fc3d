"""The processes that load slices: how many, and the one that they are forks of.

Begun early, that imports while others do, too.
"""

import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver, resource_tracker

from kitsseg.system import signals

CONTEXT = multiprocessing.get_context("forkserver")
# An H200 trains on a thousand slices of 256 x 256 a second, of which a process loads some hundreds.
MOST = 8


def count(wanted: int | None) -> int:
    """How many processes load slices for one device; None: by its share of this machine's processors.

    One of them is left to what feeds the device, and two are needed for the network itself where there
    is no GPU: slices are then loaded between its steps.
    """
    if wanted is not None:
        return wanted
    cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(cores - 1, MOST) if cores > 2 else 0


def start() -> None:
    """Begin it, with what each fork of it would import by itself, if it hasn't begun."""
    main = getattr(sys.modules["__main__"], "__spec__", None)
    CONTEXT.set_forkserver_preload(
        ["kitsseg.data.slices.loader_process", *([main.name] if main else [])]
    )
    # Nor does the terminal's interrupt end it, or make it say so: this process answers that.
    with signals.withheld(signal.SIGINT):
        resource_tracker.ensure_running()  # which lets signals in again
    with signals.withheld(signal.SIGINT):
        forkserver.ensure_running()
