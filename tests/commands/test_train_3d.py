"""3D networks from the command line: beside 2D ones in a table, resumed, on two ranks, applied."""

import csv
import json
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from kitsseg.models.unet import UNet
from kitsseg.reporting import run_record
from tests.commands.test_train import SMALL
from tests.helpers import forks
from tests.helpers.commands import find_problems
from tests.helpers.forks import command
from tests.helpers.predicting import predict
from tests.jobs.test_resume import same

VOLUMES = ["model.depth=2", "data.batch_size=2", "data.spacing_mm=[10,6,6]", "data.patch=[8,32,32]"]
RUN = [
    *SMALL, "model=attn_unet3d", *VOLUMES, "trainer.max_epochs=2", "finetune.epochs=2", "logger=csv",
    "+callbacks.kill._target_=tests.helpers.killer.Killer", "hydra.run.dir=run",
    "trainer.precision=32-true",
]  # fmt: skip


@pytest.fixture(scope="module")
def run_3d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("run_3d")
    assert forks.run(home, *RUN) == [0], (home / "said.txt").read_text()
    return home


def test_the_record_tells_what_the_network_saw(run_3d: Path) -> None:
    run = run_record.read(run_3d / "run/result.json")
    assert run.config["data"]["spacing_mm"] == [10, 6, 6]
    assert run.config["data"]["patch"] == [8, 32, 32]
    assert len(run.config["model"]["strides"]) == 2
    assert set(run.curves) == {"train", "finetune"}
    page = (run_3d / "run/report.html").read_text()
    assert "attn_unet3d" in page and "<svg" in page


def test_a_later_attempt_keeps_the_plan(run_3d: Path, tmp_path: Path) -> None:
    assert json.loads((run_3d / "run/plan.json").read_text())["patch"] == [8, 32, 32]
    (tmp_path / "data").symlink_to(run_3d / "data")
    (tmp_path / "run").mkdir()
    plan = {"spacing_mm": [10, 6, 6], "patch": [8, 16, 32]}
    (tmp_path / "run/plan.json").write_text(json.dumps(plan))
    small = [*SMALL, "model=unet3d", "trainer.max_epochs=1", "finetune=none", "hydra.run.dir=run"]
    assert forks.run(tmp_path, *small) == [0]
    run = run_record.read(tmp_path / "run/result.json")
    assert {name: run.config["data"][name] for name in plan} == plan


def test_a_killed_run_resumes_bit_identically(run_3d: Path, tmp_path: Path) -> None:
    assert forks.run(tmp_path, *RUN, env={"KILL": "train:2"}) == [-signal.SIGKILL]
    assert forks.run(tmp_path, *RUN) == [0]
    same(run_3d, tmp_path)


def test_predict_repeats_the_predictions_of_the_run(run_3d: Path, tmp_path: Path) -> None:
    (validation, *_) = json.loads((run_3d / "run/split.json").read_text())["validation"]
    stored = run_3d / f"run/predictions/{validation}.nii.gz"
    images = next((run_3d / "data").rglob(f"{validation}/imaging.nii.gz"))
    checkpoint = run_3d / "run/checkpoints/finetune/best.ckpt"
    assert predict(checkpoint, images, tmp_path, "precision=32-true", "probabilities=true") == 0
    found = np.asanyarray(nib.load(tmp_path / f"{validation}.nii.gz").dataobj)
    truth = np.asanyarray(nib.load(stored).dataobj)
    assert found.shape == truth.shape and (found == truth).mean() > 0.9999
    assert len(list(csv.DictReader((tmp_path / "volumes.csv").open()))) == 1


def test_2d_and_3d_networks_share_a_table(tmp_path: Path) -> None:
    line = [*SMALL, "model=unet,unet3d", "model.depth=2", "trainer.max_epochs=1", "finetune=none"]
    done = command(tmp_path, "-m", *line)
    assert done.returncode == 0, done.stderr
    (table,) = tmp_path.rglob("outputs/*/table1.md")
    rows = [row for row in table.read_text().splitlines() if row.startswith(("| unet", "| UNet |"))]
    assert [row.split("|")[1].strip() for row in rows][:2] == ["unet", "unet3d"]
    assert "unet3d − unet" in table.read_text() or "unet − unet3d" in table.read_text()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["model=unet", "+model.dims=3"], "cannot be applied to 2D images"),
        (["model=unet3d", "model.dims=2"], "cannot be applied to 3D images"),
        (["model=unet3d", "data.neighbours=1"], "data.neighbours=1: must be 0 in 3D; set data.neighb"),
        (["model=unet3d", "experiment=fast"], "target_repeat=2: must be 1 in 3D; set data.centred"),
        (["model=unet3d", "augmentation=patch"], "RandomPatch"),
        (["model=unet3d", "data.patch=[64,64]"], "patch=[64, 64]: must be auto or three numbers"),
        (["model=unet", "data.patch=[64,64,64]"], "data.patch"),
        (["model=unet3d", "mirror_axes=[3]"], "may contain 0 (rows) and 1 (columns) and 2 (slices)"),
    ],
)
def test_mixed_dimensions_are_refused_before_training(line: list[str], message: str) -> None:
    (problem, *_) = find_problems("train", [*line, "data=phantom", "logger=none"])
    assert message in problem and "\n" not in problem


def test_what_only_the_data_tell_is_one_line_too(run_3d: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(run_3d / "data")
    small = [*SMALL, "model=unet3d", "trainer.max_epochs=1", "finetune=none"]
    done = command(tmp_path, *small, "data.patch=[8,32,32]", "data.spacing_mm=[10,6,6]", "model.depth=4")
    assert done.returncode == 1 and "too small for model.depth=4" in done.stderr
    assert "Traceback" not in done.stderr
    done = command(tmp_path, *small, "data.spacing_mm=[0.01,0.01,0.01]")
    assert done.returncode == 1 and "set a coarser spacing" in done.stderr
    done = command(tmp_path, *small, "data.patch=[8,512,32]", "data.spacing_mm=[10,6,6]")
    assert done.returncode == 1 and "is larger than all volumes, which have at most" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("key", ["init_from", "resume_from"])
def test_a_checkpoint_of_other_dimensions_is_refused(run_3d: Path, key: str) -> None:
    path = run_3d / "run/checkpoints/train/best.ckpt"
    given = ["data=phantom", "logger=none", "model.depth=2", "model.width=4", f"{key}={path}"]
    (problem,) = find_problems("train", [*given, "model=attn_unet"])
    assert problem == (
        f"{key}={path}: holds a 3D network, but model is a 2D network; set the checkpoint of a 2D "
        "network, or a 3D model"
    )
    assert find_problems("train", [*given, "model=attn_unet3d"]) == []
    (problem,) = find_problems("train", [*given, "model=unet3d", f"model.kernels={[[3, 3, 3]] * 3}"])
    assert "weights differ in name or shape" in problem and "set the same model" in problem


def test_kernels_that_the_plan_chooses_do_not_refuse_a_checkpoint(tmp_path: Path) -> None:
    net, path = UNet(width=4, depth=2, dims=3, kernels=[[1, 3, 3]] * 3), tmp_path / "x.ckpt"
    torch.save({"state_dict": {f"net.{name}": value for name, value in net.state_dict().items()}}, path)
    given = ["data=phantom", "logger=none", "model=unet3d", "model.depth=2", "model.width=4"]
    assert find_problems("train", [*given, f"init_from={path}"]) == []
    (problem,) = find_problems(
        "train", [*given, f"model.kernels={[[3, 3, 3]] * 3}", f"init_from={path}"]
    )
    assert "set the same model" in problem


def test_two_ranks_train_on_the_same_patches(tmp_path: Path) -> None:
    """Instance norm: on CPUs, each rank normalises its own batch."""
    line = [
        *SMALL, "model=unet3d", *VOLUMES, "trainer.max_epochs=2", "finetune=none", "hydra.run.dir=run",
        "model.norm=instance", "trainer.precision=32-true",
    ]  # fmt: skip
    one, two = tmp_path / "one", tmp_path / "two"
    for home in (one, two):
        home.mkdir()
    assert forks.run(one, *line) == [0]
    assert forks.run(two, *line, "data.batch_size=1", "trainer=ddp", "trainer.devices=2",
                     "trainer.accelerator=cpu", ranks=2) == [0, 0]  # fmt: skip
    runs = [run_record.read(home / "run/result.json") for home in (one, two)]
    curves = [[row["val/loss"] for row in run.curves["train"]] for run in runs]
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)
