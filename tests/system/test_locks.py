"""Two processes and one file: one of them waits."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitsseg.system.locks import StoppedError, locked


def test_one_at_a_time(tmp_path: Path) -> None:
    target = tmp_path / "imaging.nii.gz"
    held = threading.Event()

    def other() -> None:
        with locked(target):
            held.set()
            time.sleep(0.3)
            target.touch()

    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    with locked(target):
        assert target.exists()
    thread.join()
    assert list(tmp_path.iterdir()) == [target]


def test_waiting_can_be_stopped(tmp_path: Path) -> None:
    target = tmp_path / "imaging.nii.gz"

    def other() -> None:
        with locked(target, lambda: True):
            pass

    with locked(target), ThreadPoolExecutor(1) as pool, pytest.raises(StoppedError):
        pool.submit(other).result()
