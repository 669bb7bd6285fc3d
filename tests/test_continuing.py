"""What is cut off goes on to the same figures; what is complete is skipped; nothing is mixed up."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch

from kitsseg import checkpoint, results
from tests.test_train import SMALL, command

# What has a state of its own: plateau, dropout, augmentation, Adam; three epochs, so that the plateau
# has stepped by the last one.
RUN = [
    *SMALL, "trainer.max_epochs=3", "finetune.epochs=3", "scheduler.patience=0",
    "+scheduler.threshold=0.5", "model.dropout=0.2", "logger=csv", "model=unet",
    "optimizer.lr=0.01", "+callbacks.kill._target_=tests.killer.Killer",
    "hydra.run.dir=run",
]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("undisturbed")
    done = command(home, *RUN)
    assert done.returncode == 0, done.stderr
    return home


def same(one: Path, other: Path) -> None:
    """Figures, curves and weights, bit by bit."""
    first, second = (results.read(home / "run" / "result.json") for home in (one, other))
    for name in ("before", "after", "epochs", "curves", "split"):
        assert getattr(first, name) == getattr(second, name), name
    for stage in ("train", "finetune"):
        for name in ("best", "last"):
            a, b = (checkpoint.read(h / f"run/checkpoints/{stage}/{name}.ckpt") for h in (one, other))
            assert a["state_dict"].keys() == b["state_dict"].keys()
            assert all(torch.equal(v, b["state_dict"][k]) for k, v in a["state_dict"].items())
            assert a["lr_schedulers"] == b["lr_schedulers"]


def test_killed_in_either_stage_it_goes_on_to_the_same_figures(
    undisturbed: Path, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed / "data", tmp_path / "data")
    for stage in ("train", "finetune"):
        done = command(tmp_path, *RUN, env={"KILL": f"{stage}:3"})
        assert done.returncode == -signal.SIGKILL
        assert json.loads((tmp_path / "run/status.json").read_text())["status"] == "running"
        assert not (tmp_path / "run/result.json").exists()
    done = command(tmp_path, *RUN)
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 2 of stage finetune" in done.stdout
    same(undisturbed, tmp_path)
    rates = [row["lr"] for row in results.read(tmp_path / "run/result.json").curves["train"]]
    assert rates[0] > rates[-1]  # there was a step to be lost
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["status"], status["attempt"]) == ("complete", 3)
    logged, whole = ((h / "run/metrics.csv").read_text() for h in (tmp_path, undisturbed))
    assert logged == whole


def test_what_is_complete_is_left_alone(undisturbed: Path) -> None:
    kept = [p for ending in ("ckpt", "json", "nii.gz") for p in undisturbed.glob(f"run/**/*.{ending}")]
    before = [p.stat().st_mtime_ns for p in [*kept, undisturbed / "run/metrics.csv"]]
    assert len(before) > 8
    done = command(undisturbed, *RUN)
    assert done.returncode == 0, done.stderr
    assert "complete already" in done.stdout and "epoch" not in done.stdout.split("# Table 1")[0]
    assert before == [p.stat().st_mtime_ns for p in [*kept, undisturbed / "run/metrics.csv"]]


def test_another_configuration_is_refused_and_harms_nothing(undisturbed: Path) -> None:
    done = command(undisturbed, *RUN, "optimizer.lr=0.02", "seed=1")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line.startswith("kitsseg.train: ") and "seed=0, not 1; optimizer.lr=0.01, not 0.02" in line
    assert line.endswith("give this one another name=, or remove that folder to begin anew")
    assert json.loads((undisturbed / "run/status.json").read_text())["status"] == "complete"
    assert command(undisturbed, *RUN).returncode == 0
