"""Loader processes are not forks of the training process, and none outlives it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kitsseg.data.slices.loader import check_sampler
from tests import ROOT
from tests.helpers.parts import make_data

LOADS = """
import sys
from pathlib import Path
from tests.helpers.parts import make_data

if __name__ == "__main__":
    blocks, prepared = map(Path, sys.argv[1:])
    data = make_data(blocks, prepared, workers=2)
    both = [iter(data.train_dataloader()), iter(data.val_dataloader())]
    shown = [next(batches) for batches in both]
    print("loading", flush=True)
    input()
"""


def in_session(session: int) -> list[str]:
    """The states of its processes; those that are but waited for are none."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # ended meanwhile
            continue
        if int(of) == session and state != "Z":
            found.append(state)
    return found


def test_none_is_a_fork_of_this_process(blocks: Path, tmp_path: Path) -> None:
    forks: list[int] = []
    os.register_at_fork(before=lambda: forks.append(os.getpid()))
    data = make_data(blocks, tmp_path, workers=2)
    alone = make_data(blocks, tmp_path)
    for several, one in zip(data.train_dataloader(), alone.train_dataloader(), strict=True):
        assert torch.equal(several["image"], one["image"]) and torch.equal(several["row"], one["row"])
    assert not forks


def test_none_outlives_a_parent_that_is_killed(blocks: Path, tmp_path: Path) -> None:
    script = tmp_path / "loads.py"
    script.write_text(LOADS)
    command = [sys.executable, str(script), str(blocks), str(tmp_path / "prepared")]
    process = subprocess.Popen(
        command,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    with process.stdin, process.stdout:
        assert process.stdout.readline() == "loading\n"
        assert len(in_session(process.pid)) >= 6  # it, the server, four that load
        process.send_signal(signal.SIGKILL)
        process.wait()
        for _ in range(100):
            if not in_session(process.pid):
                return
            time.sleep(0.1)
    left = in_session(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError(f"{len(left)} are left")


def test_a_second_division_among_devices_is_refused() -> None:
    def trainer(devices: int, divides: bool) -> Any:
        return SimpleNamespace(
            world_size=devices, _accelerator_connector=SimpleNamespace(use_distributed_sampler=divides)
        )

    for allowed in (None, trainer(1, True), trainer(2, False)):
        check_sampler(allowed)
    with pytest.raises(ValueError, match=r"set Trainer\(use_distributed_sampler=False\)"):
        check_sampler(trainer(2, True))
