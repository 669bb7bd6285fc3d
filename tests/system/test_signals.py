"""A cluster's signals do not end the processes of a job; the end of their parent does."""

import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import pytest

from kitsseg.system import signals


def sleep(ready: Connection, setup: Callable[[], None]) -> None:
    setup()
    ready.send(os.getpid())
    time.sleep(60)


def sleep_below(ready: Connection) -> None:
    """Start a process that follows its parent, then end without a word to it."""
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=sleep, args=(ready, signals.follow_parent))
    child.start()
    while not child.is_alive():
        time.sleep(0.01)
    time.sleep(60)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("setup", [signals.ignore_cluster_signals, signals.follow_parent])
def test_the_signals_of_a_cluster_are_ignored(setup: Callable[[], None]) -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=sleep, args=(there, setup), daemon=True
    )
    process.start()
    pid = here.recv()
    for name in ("USR1", "USR2", "TERM"):  # from another process than the parent
        subprocess.run(["kill", f"-{name}", str(pid)], check=True)
    process.join(0.3)
    assert process.is_alive()
    process.kill()
    process.join()


def test_the_parent_can_terminate_a_process_that_follows_it() -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=sleep, args=(there, signals.follow_parent), daemon=True
    )
    process.start()
    here.recv()
    process.terminate()
    process.join(10)
    assert process.exitcode == 0


def test_a_process_ends_when_its_parent_is_killed() -> None:
    here, there = multiprocessing.Pipe()
    parent = multiprocessing.get_context("spawn").Process(target=sleep_below, args=(there,))
    parent.start()
    pid = here.recv()
    parent.kill()
    parent.join()
    end = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not is_running(pid)
