"""What a job's processes import, they import while its config is still looked at."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kitsseg import train
from kitsseg.config.validation import validate
from kitsseg.jobs import launch
from kitsseg.reporting import runs
from tests import ROOT
from tests.commands.test_train import SMALL, command
from tests.config.test_validation import composed
from tests.jobs.test_sweeps import processes

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nowhere to look")
LINE = [*SMALL, "model=unet", "finetune=none", "logger=none", "trainer.accelerator=cpu"]
RANKS = ["trainer.devices=2", "trainer.strategy=ddp"]


def begun(home: Path, *more: str) -> tuple[float, list[dict[str, Any]]]:
    """When a job began, and when did its processes."""
    done = command(home, *LINE, "+callbacks.begun._target_=tests.helpers.begun.Begun", *more)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    (job,) = runs.jobs_below(home / "outputs")
    assert job.state == "complete" and not list(job.folder.glob(".task.json"))
    found = [json.loads(path.read_text()) for path in sorted(home.glob("begun-*.json"))]
    return float(json.loads((job.folder / "status.json").read_text())["started"]), found


def test_the_ranks_of_a_job(tmp_path: Path) -> None:
    started, found = begun(tmp_path, *RANKS)
    assert len(found) == 2 and all(each["process"] < started for each in found)
    assert not any(each["torch above"] for each in found)  # the first rank looked at the config


def test_on_gpus_the_command_looks_at_the_config_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first rank would ask for a GPU before it is told which one is its own."""
    begun: list[int] = []
    monkeypatch.setattr(train.launch, "begin", begun.append)
    settings = {"trainer": {"devices": 2, "accelerator": "auto"}, "data": {"workers": 0}}
    for gpus, looks in (([], train.launch.look), (["0", "1"], None)):
        monkeypatch.setattr(train.ranks.gpus, "visible", lambda gpus=gpus: gpus)
        assert train.begin(settings) is looks
    assert begun == [2, 2]


def test_without_a_rank_that_answers_the_command_looks_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(launch.sys, "executable", shutil.which("false"))
    launch.begin(2)
    early, launch._begun[:] = list(launch._begun), launch._begun[:1]
    try:
        early[0].its.wait()
        assert launch.look("train", {}) is None
        cfg = composed(*LINE, "model.width=0")
        found = validate(cfg, begin=lambda plain: launch.look)
        assert found == ["model: width=0 must be at least 1"]
    finally:
        launch._begun.clear()
        for process in early:
            process.kill()


def test_in_another_environment_they_begin_anew(tmp_path: Path) -> None:
    started, found = begun(tmp_path, *RANKS, "+hydra.job.env_set.MINE=1")
    assert len(found) == 2 and all(each["process"] > started - 0.02 for each in found)
    assert not processes(tmp_path)


def test_the_server_of_its_loaders(tmp_path: Path) -> None:
    started, (found,) = begun(tmp_path, "data.workers=1")
    assert found["process"] < found["server"] < started


def test_getting_ready_asks_for_no_gpu() -> None:
    """Which ones a job has is told afterwards, and counts as long as none was asked for."""
    code = """
import torch
asked = []
for name in ("is_available", "device_count", "init", "_lazy_init"):
    setattr(torch.cuda, name, lambda *given, name=name: asked.append(name))
from kitsseg import train
train.ready()
assert not asked, asked
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_they_end_if_the_job_is_refused(tmp_path: Path) -> None:
    done = command(tmp_path, *LINE, *RANKS, "model.width=0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "kitsseg.train: model: width=0 must be at least 1\n"
    end = time.monotonic() + 10
    while processes(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert not list(tmp_path.iterdir())
