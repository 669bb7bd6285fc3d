"""Sweeps on a real SLURM, if one is running (`.ci/slurm up`)."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitsseg.reporting import run_record, runs
from tests.commands.test_train import SMALL, start
from tests.helpers.records import find_records


def is_up() -> bool:
    if shutil.which("scontrol") is None:
        return False
    said = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, check=False).stdout
    return "is UP" in said


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_up(), reason="no SLURM; .ci/slurm up starts one"),
]

SWEEP = [
    "-m", *SMALL, "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "trainer.accelerator=cpu",
    "logger=none", "+callbacks.kill._target_=tests.helpers.killer.Killer",
]  # fmt: skip


@pytest.fixture
def impatient() -> Iterator[None]:
    """Start requeued jobs after 2 s instead of two minutes; SLURM rejects an immediate start."""
    requeued = "squeue -h -t PD -o '%r %i' | sed -n 's/^BeginTime //p'"
    soon = "xargs -I{} scontrol update JobId={} StartTime=now+2"
    line = f"while sleep 4; do {requeued} | {soon}; done"
    process = subprocess.Popen(["sh", "-c", line], start_new_session=True, stderr=subprocess.DEVNULL)
    yield
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.usefixtures("impatient")
def test_preempted_job_and_requeued_job_with_two_ranks_resume(tmp_path: Path) -> None:
    killed = {"KILL": "train:2", "KILL_RANK": "-1", "KILL_BY": "preempt,requeue"}
    done = start(tmp_path, *SWEEP, "trainer.devices=1,2", env=killed)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "outputs" / "demo"
    states = [json.loads((p.parent / "status.json").read_text()) for p in find_records(folder)]
    assert [(s["status"], s["attempt"]) for s in states] == [("complete", 2)] * 2
    assert states[0]["slurm_job"] != states[1]["slurm_job"]
    for devices in (1, 2):
        log = (folder / f"trainer.devices-{devices}" / "train.log").read_text()
        assert log.count("resuming stage train after epoch 1") == 1
    assert [run_record.read(p).epochs["train"]["run"] for p in find_records(folder)] == [2, 2]
    assert "# Table 1" in done.stdout and (folder / "table1.md").is_file()


@pytest.mark.usefixtures("impatient")
def test_slurm_tasks_are_ranks_of_a_3d_network_and_one_job_times_out_and_one_fails(
    tmp_path: Path,
) -> None:
    volumes = ["model=unet3d", "data.spacing_mm=[10,6,6]", "data.patch=[8,32,32]", "data.batch_size=1"]
    volumes += ["data.patches_per_epoch=4"]
    tasks = ["hydra.launcher.tasks_per_node=2", "trainer.devices=2", "trainer.strategy=ddp"]
    # Loader processes also receive SLURM's signal. With a limit of 10 minutes, submitit takes any signal
    # for a timeout.
    tasks += ["data.workers=1", "hydra.launcher.timeout_min=10"]
    killed = {"KILL": "train:2", "KILL_BY": "preempt"}
    line = [*SWEEP, *tasks, *volumes, "finetune=none", "optimizer.lr=0.001,1e30"]
    done = start(tmp_path, *line, env=killed)
    fine, diverged = runs.jobs_below(tmp_path / "outputs" / "demo")
    assert (fine.state, diverged.state) == ("complete", "failed"), done.stdout + done.stderr
    assert json.loads((fine.folder / "status.json").read_text())["attempt"] == 2
    assert "val/loss is nan" in diverged.reason
    assert run_record.read(fine.folder / "result.json").config["data"]["patch"] == [8, 32, 32]
    assert done.returncode == 1 and "# Table 1" in done.stdout
    assert not list(fine.folder.glob(".task.yaml"))
