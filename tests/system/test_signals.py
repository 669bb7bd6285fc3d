"""Signals that a cluster sends to all processes of a job."""

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from kitsseg.system import signals
from kitsseg.system.signals import WARNINGS, heed_parent, ignore


def wait(ready: Connection, way: str) -> None:
    getattr(signals, way)()
    ready.send(None)
    time.sleep(60)


def started(way: str) -> multiprocessing.Process:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=wait, args=(there, way), daemon=True)
    with signals.withheld():
        process.start()
    here.recv()
    return process  # type: ignore[return-value]


@pytest.fixture
def busy() -> Iterator[None]:
    """A library that starts a thread in every fork, as OpenTelemetry does."""
    here = [True]

    def start() -> None:
        if here:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()

    os.register_at_fork(after_in_child=start)
    yield
    here.clear()


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("way", [ignore.__name__, heed_parent.__name__])
@pytest.mark.parametrize("number", [*WARNINGS, signal.SIGTERM])
def test_a_clusters_signals_end_no_process_below(way: str, number: signal.Signals) -> None:
    process = started(way)
    subprocess.run(["kill", f"-{number.name[3:]}", str(process.pid)], check=True)
    process.join(0.3)
    assert process.is_alive()
    process.kill()
    process.join()


def test_the_parents_end_one_that_heeds_it() -> None:
    process = started(heed_parent.__name__)
    process.terminate()
    process.join(10)
    assert process.exitcode == 0
