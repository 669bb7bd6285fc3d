"""Two processes and one file: one of them waits."""

import threading
import time
from pathlib import Path

from kitsseg.system.locks import locked


def test_one_at_a_time(tmp_path: Path) -> None:
    target = tmp_path / "imaging.nii.gz"
    stop, notes, held = threading.Event(), [], threading.Event()

    def other() -> None:
        with locked(target, stop, lambda text: None):
            held.set()
            time.sleep(0.3)
            target.touch()

    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    with locked(target, stop, notes.append):
        assert target.exists()
    thread.join()
    assert notes == ["waiting for another process that works on it"]
    assert list(tmp_path.iterdir()) == [target]
