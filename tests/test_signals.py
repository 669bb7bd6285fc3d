"""Signals that a cluster sends to all processes of a job."""

import multiprocessing
import signal
import subprocess
import time
from multiprocessing.connection import Connection

import pytest

from kitsseg import signals
from kitsseg.signals import WARNINGS, heed_parent, ignore


def wait(ready: Connection, way: str) -> None:
    getattr(signals, way)()
    ready.send(None)
    time.sleep(60)


def started(way: str) -> multiprocessing.Process:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=wait, args=(there, way), daemon=True)
    process.start()
    here.recv()
    return process  # type: ignore[return-value]


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
