"""`kitsseg.data.store.prepare`: full disks, killed and concurrent processes."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from kitsseg.data.case import Case
from kitsseg.data.sources.kits import list_cases
from kitsseg.data.store import prepare as prepare_module
from kitsseg.data.store.prepare import is_current, prepare
from kitsseg.system.locks import locked
from tests.conftest import blocky, write_case


def test_a_full_disk_is_a_line_and_nothing_half_written(
    block_cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, written = prepare_module._save, []

    def full(path: Path, array: np.ndarray) -> None:
        written.append(path)
        if len(written) == 5:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(path, array)

    monkeypatch.setattr(prepare_module, "_save", full)
    with pytest.raises(
        ValueError, match="the disk is full; free some space .* 2 of 6 cases are prepared"
    ) as refusal:
        prepare(block_cases, tmp_path, None)
    assert "\n" not in str(refusal.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["case_00000", "case_00001"]
    monkeypatch.undo()
    assert prepare(block_cases, tmp_path, None).ids == [c.id for c in block_cases]


def test_a_disk_that_is_really_full(small_disk: Path, tmp_path: Path) -> None:
    cases = [write_case(tmp_path / "raw", number, *blocky(number)) for number in range(6)]
    store = small_disk / "store"
    with pytest.raises(ValueError, match="small/store: the disk is full"):
        prepare(cases, store, None, workers=2)
    there = sorted(p.name for p in store.iterdir())
    assert 0 < len(there) < 6 and all(is_current(c, store) for c in cases if c.id in there)


def test_leftovers_of_a_killed_process_are_removed(block_cases: list[Case], tmp_path: Path) -> None:
    """A process can be killed between any two steps of replacing a case."""
    prepare(block_cases, tmp_path, None)
    (tmp_path / ".case_00000-new").mkdir()
    (tmp_path / ".case_00000-new" / "image.npy").write_bytes(b"half")
    shutil.rmtree(tmp_path / "case_00000")
    (tmp_path / "case_00001" / "image.npy").write_bytes(b"cut off by a loss of power")
    store = prepare(block_cases, tmp_path, None)
    assert np.array_equal(store.images(0), blocky(0)[0]) and np.array_equal(
        store.images(1), blocky(1)[0]
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == [c.id for c in block_cases]


def test_a_case_is_prepared_by_one_process_at_a_time(block_cases: list[Case], tmp_path: Path) -> None:
    half = tmp_path / ".case_00000-new"
    half.mkdir()
    with locked(tmp_path / "case_00000"):
        waiting = Thread(target=prepare, args=(block_cases[:1], tmp_path, None))
        waiting.start()
        time.sleep(0.5)
        assert waiting.is_alive() and half.exists()
    waiting.join(20)
    assert [path.name for path in tmp_path.iterdir()] == ["case_00000"]


PREPARE = """
import sys
from pathlib import Path
from kitsseg.data.sources.kits import list_cases
from kitsseg.data.store.prepare import prepare
prepare(list_cases(Path(sys.argv[1])), Path(sys.argv[2]), 96, int(sys.argv[3]))
"""


def preparing(raw: Path, store: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PREPARE, str(raw), str(store), str(workers)]
    # Its own process group, so that its workers are killed as well.
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)


def contents(folder: Path) -> dict[str, bytes]:
    # A process that is killed before it removes its lock leaves an empty file.
    files = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def bigger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases that take long enough to be interrupted."""
    root = tmp_path_factory.mktemp("bigger")
    for number in range(12):
        write_case(root, number, *blocky(number, 24, 256, 256))
    return root


def test_resuming_after_kills_gives_the_same_store(bigger: Path, tmp_path: Path) -> None:
    cases = list_cases(bigger)
    prepare(cases, tmp_path / "calm", 96)
    rng = random.Random(0)
    killed = 0
    for number in range(4):
        process = preparing(bigger, tmp_path / "shot", 1 + number % 2)
        while process.poll() is None and not list(tmp_path.glob("shot/case_*")):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        killed += process.poll() is None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert killed
    prepare(cases, tmp_path / "shot", 96)
    assert contents(tmp_path / "shot") == contents(tmp_path / "calm")


def test_two_processes_at_once(bigger: Path, tmp_path: Path) -> None:
    prepare(list_cases(bigger), tmp_path / "one", 96)
    both = [preparing(bigger, tmp_path / "two", 1) for _ in range(2)]
    assert [process.wait(100) for process in both] == [0, 0]
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
