"""A sweep through a real SLURM, if one is up (`.ci/slurm up`)."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitsseg import results
from tests.test_train import SMALL, command


def is_up() -> bool:
    if shutil.which("scontrol") is None:
        return False
    said = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, check=False).stdout
    return "is UP" in said


pytestmark = pytest.mark.skipif(not is_up(), reason="no SLURM here; .ci/slurm up starts one")

SWEEP = [
    "-m", *SMALL, "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "trainer.accelerator=cpu",
    "logger=none", "+callbacks.kill._target_=tests.killer.Killer",
]  # fmt: skip


@pytest.fixture
def impatient() -> Iterator[None]:
    """What is requeued would wait two minutes."""
    now = "xargs -I{} scontrol update JobId={} StartTime=now"
    line = f"while sleep 1; do squeue -h -t PD -o %i | {now}; done"
    process = subprocess.Popen(["sh", "-c", line], start_new_session=True, stderr=subprocess.DEVNULL)
    yield
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.usefixtures("impatient")
def test_two_jobs_one_of_two_ranks_which_is_requeued(tmp_path: Path) -> None:
    # Only the job of two ranks has a rank 1.
    killed = {"KILL": "train:2", "KILL_RANK": "1", "KILL_BY": "requeue"}
    done = command(tmp_path, *SWEEP, "trainer.devices=1,2", env=killed)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "outputs" / "demo"
    states = [json.loads((p.parent / "status.json").read_text()) for p in results.find(folder)]
    assert [(s["status"], s["attempt"]) for s in states] == [("complete", 1), ("complete", 2)]
    assert states[0]["slurm_job"] != states[1]["slurm_job"]
    log = (folder / "trainer.devices-2" / "train.log").read_text()
    assert "going on after epoch 1 of stage train" in log
    assert [results.read(p).epochs["train"]["run"] for p in results.find(folder)] == [2, 2]
    assert "# Table 1" in done.stdout and (folder / "table1.md").is_file()


def test_tasks_of_slurms_are_the_ranks(tmp_path: Path) -> None:
    tasks = ["hydra.launcher.tasks_per_node=2", "trainer.devices=2", "trainer.strategy=ddp"]
    done = command(tmp_path, *SWEEP, *tasks, "finetune=none", "seed=0")
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = results.find(tmp_path / "outputs" / "demo")
    assert json.loads((record.parent / "status.json").read_text())["status"] == "complete"
    assert not list(record.parent.glob(".task.json"))
