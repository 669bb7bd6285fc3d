"""Interrupted runs resume bit-identically, complete runs are skipped, and others are not overwritten."""

import json
import shutil
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from kitsseg.inference import checkpoint
from kitsseg.reporting import run_record
from tests.commands.test_train import SMALL
from tests.helpers import forks
from tests.helpers.forks import command

# Components with a state or randomness: plateau, dropout, augmentation and Adam. The plateau reduces
# the rate within three epochs.
RUN = [
    *SMALL, "trainer.max_epochs=3", "finetune.epochs=3", "scheduler.patience=0",
    "+scheduler.threshold=0.5", "model.dropout=0.2", "logger=csv", "model=unet",
    "optimizer.lr=0.01", "+callbacks.kill._target_=tests.helpers.killer.Killer",
    "hydra.run.dir=run",
]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("undisturbed")
    assert forks.run(home, *RUN) == [0]
    return home


def same(one: Path, other: Path) -> None:
    """Assert that metrics, curves and weights are bit-identical."""
    first, second = (run_record.read(home / "run" / "result.json") for home in (one, other))
    for name in ("before", "after", "epochs", "curves", "split"):
        assert getattr(first, name) == getattr(second, name), name
    assert (one / "run/epochs.csv").read_text() == (other / "run/epochs.csv").read_text()
    for stage in ("train", "finetune")[: 1 if first.after is None else 2]:
        for name in ("best", "last"):
            a, b = (checkpoint.read(h / f"run/checkpoints/{stage}/{name}.ckpt") for h in (one, other))
            for part in ("state_dict", *({"current_model_state"} & a.keys())):
                assert a[part].keys() == b[part].keys()
                assert all(torch.equal(v, b[part][k]) for k, v in a[part].items())
            assert a["lr_schedulers"] == b["lr_schedulers"]


def test_run_killed_in_either_stage_resumes_bit_identically(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed / "data", tmp_path / "data")
    for stage in ("train", "finetune"):
        assert forks.run(tmp_path, *RUN, env={"KILL": f"{stage}:3"}) == [-signal.SIGKILL]
        assert json.loads((tmp_path / "run/status.json").read_text())["status"] == "running"
        assert not (tmp_path / "run/result.json").exists()
    assert forks.run(tmp_path, *RUN) == [0]
    assert "resuming stage finetune after epoch 2" in (tmp_path / "said.txt").read_text()
    same(undisturbed, tmp_path)
    rates = [row["lr"] for row in run_record.read(tmp_path / "run/result.json").curves["train"]]
    assert rates[0] > rates[-1]  # otherwise a lost scheduler step would not show
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["status"], status["attempt"]) == ("complete", 3)
    logged, whole = ((h / "run/metrics.csv").read_text() for h in (tmp_path, undisturbed))
    assert logged == whole


def test_complete_run_is_not_changed(undisturbed: Path) -> None:
    kept = [p for ending in ("ckpt", "json", "nii.gz") for p in undisturbed.glob(f"run/**/*.{ending}")]
    before = [p.stat().st_mtime_ns for p in [*kept, undisturbed / "run/metrics.csv"]]
    assert len(before) > 8
    done = command(undisturbed, *RUN)
    assert done.returncode == 0, done.stderr
    assert "already complete" in done.stdout and "epoch" not in done.stdout.split("# Table 1")[0]
    assert before == [p.stat().st_mtime_ns for p in [*kept, undisturbed / "run/metrics.csv"]]


def test_another_configuration_is_rejected_and_changes_nothing(undisturbed: Path) -> None:
    done = command(undisturbed, *RUN, "optimizer.lr=0.02", "seed=1")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line.startswith("kitsseg.train: ") and "seed=0, not 1; optimizer.lr=0.01, not 0.02" in line
    assert line.endswith("choose another name=, or remove that folder to start from scratch")
    assert json.loads((undisturbed / "run/status.json").read_text())["status"] == "complete"
    assert forks.run(undisturbed, *RUN) == [0]


def test_two_ranks_with_averaged_weights_and_early_stopping_resume(tmp_path: Path) -> None:
    line = [
        *RUN, "trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu", "logger=none",
        "finetune=none", "callbacks=ema", "callbacks.ema.decay=0.9", "trainer.max_epochs=8",
        "+callbacks.stop._target_=pytorch_lightning.callbacks.EarlyStopping",
        "+callbacks.stop.monitor=val/loss", "+callbacks.stop.min_delta=1", "+callbacks.stop.patience=3",
    ]  # fmt: skip
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    assert forks.run(whole, *line, ranks=2) == [0, 0]
    record = run_record.read(whole / "run/result.json")
    assert record.epochs["train"]["run"] == 4  # the first, and three without an improvement by 1
    last = checkpoint.read(whole / "run/checkpoints/train/last.ckpt")
    name = next(name for name in last["state_dict"] if name.endswith("weight"))
    assert not torch.equal(last["state_dict"][name], last["current_model_state"][name])

    shutil.copytree(whole / "data", cut / "data")
    killed = forks.run(cut, *line, ranks=2, env={"KILL": "train:4", "KILL_RANK": "1"})
    assert -signal.SIGKILL in killed
    assert forks.run(cut, *line, ranks=2) == [0, 0]
    assert "resuming stage train after epoch 3" in (cut / "said.txt").read_text()
    same(whole, cut)

    # Simulate a kill after the last checkpoint, before the phase is stored as finished.
    phases = json.loads((cut / "run/phases.json").read_text())
    (cut / "run/phases.json").write_text(json.dumps({"prepare": phases["prepare"]}))
    (cut / "run/result.json").unlink()
    assert forks.run(cut, *line, ranks=2) == [0, 0]
    same(whole, cut)


@pytest.mark.slow
def test_files_are_readable_after_a_kill_during_any_write(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed / "data", tmp_path / "data")
    first = ["config.json", "split.json", "table1.csv", "table1.tex", "strata.csv"]
    (tmp_path / "run.opened").write_text("\n".join([*first, ""]))
    killed, line, run = [], [*RUN, "finetune=none", "trainer.max_epochs=1"], tmp_path / "run"
    while forks.run(tmp_path, *line, env={"KILL_OPENING": "run"}) != [0]:
        killed.append((tmp_path / "run.opened").read_text().split("\n")[-2])
        assert len(killed) < 25
        readable(run)
        if killed[-1].startswith("showcase"):  # a kill after the record is written keeps the record
            figures = run_record.read(run / "result.json").before
    assert {f"predictions/{case}.nii.gz" for case in figures["validation"]} < set(killed)
    assert {"phases.json", "status.json", "checkpoints/train/last.ckpt", "result.json"} < set(killed)
    assert {"showcase/worst.npz", "table1.md", "report.html"} < set(killed)
    assert not [path for path in run.rglob(".*") if path.name not in (".lock", ".wandb")]

    whole = tmp_path / "whole"
    shutil.copytree(undisturbed / "data", whole / "data")
    assert forks.run(whole, *line) == [0]
    same(whole, tmp_path)
    assert run_record.read(run / "result.json").before == figures
    for path in (whole / "run").glob("predictions/*"):
        assert path.read_bytes() == (run / "predictions" / path.name).read_bytes()


def readable(run: Path) -> None:
    """Assert that every file of a run can be read."""
    for path in (p for p in run.rglob("[!.]*") if p.is_file()):
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".ckpt":
            checkpoint.read(path)
        elif path.suffix == ".npz":
            with np.load(path) as file:
                assert file["image"].size
        elif path.suffix == ".gz":
            assert nib.load(path).get_fdata().size
        elif path.suffix in (".md", ".html"):
            assert path.read_text().rstrip().endswith((".", "|", "</html>")), path
    if (run / run_record.RESULT).exists():
        run_record.read(run / run_record.RESULT)
