"""Common options of Lightning and Hydra work, or are rejected before training."""

import json
import re
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kitsseg.inference import checkpoint
from tests.commands.test_train import SMALL
from tests.helpers.commands import find_problems
from tests.helpers.forks import command

STOPPING = "{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/loss}"
SAVING = "{_target_: pytorch_lightning.callbacks.ModelCheckpoint, monitor: val/loss}"
LAST = "stage train ended without a best.ckpt: using the last weights"


class Tiny(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(image)


class Tiny3d(Tiny):
    def __init__(self, classes: int = 3) -> None:
        super().__init__(classes)
        self.head = nn.Conv3d(1, classes, 3, padding=1)  # type: ignore[assignment]


class Broken(Tiny):
    def forward(self, image: Tensor) -> Tensor:
        return self.haed(image)


class PerPixel(nn.Module):
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, target, reduction="none")


class TwoClasses(nn.Module):
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, target, weight=torch.ones(2))


class Multiple(Tiny):
    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-1] % 64:
            raise ValueError("needs a multiple of 64")
        return self.head(image)


class Pair(Tiny):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return self.head(image), image


def result(folder: Path) -> dict:
    (path,) = folder.rglob("result.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["+trainer.fast_dev_run=true", "trainer.gradient_clip_val=1"], LAST),
        (["+trainer.max_steps=3", f"+callbacks.own={SAVING}"], "ended stage train within an epoch"),
        (["trainer.check_val_every_n_epoch=5", "loss=slice_mean"], LAST),
        (["+trainer.limit_val_batches=0", "+trainer.profiler=simple"], LAST),
        (["+trainer.overfit_batches=1", f"+callbacks.stop={STOPPING}"], "finetune 1/1"),
        (
            ["trainer.max_epochs=3", f"+callbacks.stop={STOPPING[:-1]}, patience: 1, min_delta: 9}}"],
            "stage train stopped after epoch 2 of 3",
        ),
    ],
)
def test_options_of_the_trainer(tmp_path: Path, options: list[str], said: str) -> None:
    done = command(tmp_path, *SMALL, "model=unet", "logger=none", *options)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout + done.stderr
    assert result(tmp_path)["after"]["validation"]
    if "+trainer.profiler=simple" in options:
        assert "FIT Profiler Report" in done.stdout + done.stderr


def test_init_from_and_resume_from_another_run(tmp_path: Path) -> None:
    first = command(tmp_path, *SMALL, "model=unet", "logger=none", "name=first", "finetune=none")
    assert first.returncode == 0, first.stderr
    (last,) = (tmp_path / "outputs" / "first").rglob("train/last.ckpt")
    more = ["model=unet", "logger=none", "finetune=none", "trainer.max_epochs=4"]
    done = command(tmp_path, *SMALL, *more, "name=more", f"resume_from='{last}'")
    assert done.returncode == 0, done.stderr
    assert "epoch 3/4" in done.stdout and "epoch 2/4" not in done.stdout
    whole = command(tmp_path, *SMALL, *more, "name=whole")
    assert whole.returncode == 0, whole.stderr
    # Continuing for two epochs is the same as training for four.
    records = [result(tmp_path / "outputs" / name) for name in ("more", "whole")]
    assert records[0]["curves"] == records[1]["curves"]
    epochs = [(tmp_path / "outputs" / name).rglob("epochs.csv") for name in ("more", "whole")]
    assert next(epochs[0]).read_text() == next(epochs[1]).read_text()
    assert records[0]["before"] == records[1]["before"]
    # The rate is part of the state of the optimizer, which is continued.
    slower = command(tmp_path, *SMALL, *more, "name=slow", f"resume_from='{last}'", "optimizer.lr=1e-5")
    assert (
        slower.returncode == 1
        and "its optimizer has lr=0.001, not 1e-05; set optimizer.lr" in slower.stderr
    )
    best = last.with_name("best.ckpt")
    refused = command(tmp_path, *SMALL, *more, "name=best", f"resume_from='{best}'")
    assert refused.returncode == 1 and "use the last.ckpt beside it" in refused.stderr
    started = [*SMALL, "model=unet", "logger=none", "finetune=none", "name=init", "trainer.max_epochs=1"]
    done = command(tmp_path, *started, f"init_from='{best}'", "optimizer.lr=1e-12")
    assert done.returncode == 0, done.stderr
    (new,) = (tmp_path / "outputs" / "init").rglob("train/best.ckpt")
    weights = [checkpoint.weights(checkpoint.read(path)) for path in (best, new)]
    trained = [name for name in weights[0] if name.endswith("weight")]
    assert all(torch.allclose(weights[0][n], weights[1][n], atol=1e-6) for n in trained)


def test_keys_that_are_numbers_reach_the_jobs_of_a_sweep(tmp_path: Path) -> None:
    accumulate = "_target_: pytorch_lightning.callbacks.GradientAccumulationScheduler, scheduling"
    options = [f"+callbacks.own={{{accumulate}: {{0: 1, 1: 2}}}}", "logger=none", "finetune=none"]
    done = command(tmp_path, "-m", *SMALL, "model=unet", *options)
    assert done.returncode == 0, done.stderr


CALLBACKS = "pytorch_lightning.callbacks"
OWN = "tests.commands.test_ordinary_options"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["trainer.max_epochs=0"], "trainer.max_epochs=0: must be at least 1"),
        (["trainer.max_epochs=abc"], "trainer.max_epochs='abc': must be a valid integer"),
        (["+trainer.accumulate_grad_batches=0"], "accumulate_grad_batches=0: must be at least 1"),
        (["+trainer.val_check_interval=0"], "trainer.val_check_interval=0: must be at least 1"),
        (["trainer.devices=abc"], "trainer.devices=abc: must be at least 1, or -1 for all"),
        (["name=../x"], "name=../x: must name a folder within paths.output"),
        (["name=''"], "name=: must name a folder within paths.output"),
        (
            ["logger=none", f"+callbacks.lr={{_target_: {CALLBACKS}.LearningRateMonitor}}"],
            "callbacks.lr: LearningRateMonitor needs a logger; set logger=csv",
        ),
        (
            ["logger=none", f"+callbacks.x={{_target_: {CALLBACKS}.DeviceStatsMonitor}}"],
            "callbacks.x: DeviceStatsMonitor needs a logger; set logger=csv",
        ),
        (
            [f"+callbacks.x={{_target_: {CALLBACKS}.RichProgressBar}}"],
            "callbacks.x: RichProgressBar needs trainer.enable_progress_bar=true",
        ),
        (
            [f"+callbacks.x={{_target_: {CALLBACKS}.StochasticWeightAveraging, swa_lrs: 0.01}}"],
            "that no best.ckpt would hold; set callbacks=ema",
        ),
        (["+trainer.barebones=true"], "trainer.barebones=true: kitsseg needs checkpoints; remove it"),
        (["+trainer.enable_checkpointing=false"], "enable_checkpointing=false: kitsseg needs"),
        (["trainer.devices=0"], "trainer.devices=0: must be at least 1"),
        (["trainer.precision=64-true"], "kitsseg trains in auto, 32-true, bf16-mixed or 16-mixed"),
        (["trainer.precision=16-mixed", "trainer=cpu"], "set bf16-mixed"),
        (["trainer.strategy=ddp_spawn"], "kitsseg starts one process per device itself"),
        (
            [f"+callbacks.x={{_target_: {CALLBACKS}.BatchSizeFinder}}"],
            "set data.batch_size",
        ),
        ([f"+callbacks.x={{_target_: {CALLBACKS}.LearningRateFinder}}"], "in a sweep: -m"),
        (["checkpoint.monitor=val/nosuch"], "or a metric that your own callback logs"),
        (
            ["model=unet", "model.classes=4"],
            "kitsseg needs .*: one logit for each of",
        ),
        (["model=unet", "model.in_channels=3"], "cannot be applied to 2D images with 1 channels"),
        ([f"model={{_target_: {OWN}.Pair}}"], "has no arguments .*; remove them: '~model"),
        (["init_from=nosuch.ckpt"], "init_from=nosuch.ckpt: no such file; set a checkpoint"),
        (["resume_from=nosuch.ckpt"], "resume_from=nosuch.ckpt: no such file; set a checkpoint"),
        (["data.root=KiTS (copy)"], "quote the value: 'data.root=\"KiTS .copy.\"'"),
        (["data.root=M\u00fcller"], "quote the value: 'data.root=\"M\u00fcller\"'"),
        (
            ["paths.output=/proc/nosuch"],
            "paths.output=/proc/nosuch: .*; set a folder",
        ),
        (
            [f"+callbacks.x={STOPPING.replace('loss', 'los')}"],
            "callbacks.x.monitor=val/los: must be one",
        ),
        (
            [f"+callbacks.x={STOPPING.replace('loss', 'tumour_dice')}"],
            "callbacks.x.mode=min: would choose the worst val/tumour_dice; set callbacks.x.mode=max",
        ),
        ([f"loss._target_={OWN}.PerPixel"], "PerPixel has no arguments .*; remove them: '~loss"),
        (
            ["loss=slice_mean", f"loss.loss._target_={OWN}.PerPixel"],
            r"PerPixel returns \[1, 64, 64\], not a scalar; return the mean",
        ),
        (
            ["loss=slice_mean", f"loss.loss._target_={OWN}.TwoClasses"],
            "loss: cannot be applied to logits of 3 classes .RuntimeError: weight tensor",
        ),
        (["+epochs=3"], "epochs: no such key"),
        (["epochs=3"], "did you mean finetune.epochs or trainer.max_epochs"),
        (["train.max_epochs=3"], "did you mean trainer.max_epochs"),
        (
            ["model=own", f"model._target_={OWN}.Broken"],
            "has no attribute 'haed' at .*ordinary_options.py",
        ),
        (["model=own", f"model._target_={OWN}.Multiple", "data.size=96"], "needs a multiple of 64"),
        (["model=own", "+model.width=3"], "has no such argument .*; to remove it: '~model.width'"),
        (["model=own"], "model: Pair returns a tuple; kitsseg needs a tensor of logits"),
    ],
)
def test_rejected_before_training(tmp_path: Path, options: list[str], text: str) -> None:
    (tmp_path / "model").mkdir()
    own = f"# @package _global_\nmodel: {{_target_: {OWN}.Pair}}\nshallow: [head]\n"
    (tmp_path / "model" / "own.yaml").write_text(own)
    small = [] if "model=own" in options else SMALL  # the network has no width
    problems = find_problems("train", [*small, *options], config_dir=str(tmp_path))
    assert any(re.search(text, problem) for problem in problems), problems


@pytest.mark.parametrize(
    "options",
    [
        ["loss=slice_mean", "loss.loss._target_=torch.nn.modules.loss.CrossEntropyLoss"],
        ['data.root="KiTS (copy)"'],
        ['data.root="M\u00fcller"'],
        ["trainer.precision=bf16-mixed", "trainer=cpu"],
        ["finetune.frozen=[encoder]"],
        [
            f"+callbacks.x={{_target_: {CALLBACKS}.RichProgressBar}}",
            "trainer.enable_progress_bar=true",
        ],
    ],
)
def test_remedies_are_accepted(options: list[str]) -> None:
    assert find_problems("train", [*SMALL, *options]) == []


def test_a_validation_within_an_epoch_can_be_the_best(tmp_path: Path) -> None:
    options = [
        "+trainer.val_check_interval=1",
        "optimizer.lr=0",
        "trainer.max_epochs=1",
        "model.norm=none",
    ]
    done = command(tmp_path, *SMALL, "model=unet", "logger=none", "finetune=none", *options)
    assert done.returncode == 0, done.stderr
    (best,) = tmp_path.rglob("best.ckpt")
    # With a rate of 0, the first validation remains the best.
    assert checkpoint.read(best)["global_step"] == 1


def test_unreachable_mlflow_server_is_disabled(tmp_path: Path) -> None:
    options = [
        "logger=mlflow",
        "logger.mlflow.tracking_uri=http://127.0.0.1:9",
    ]  # no server listens on this port
    start = time.monotonic()
    done = command(tmp_path, *SMALL, "model=unet", "finetune=none", "trainer.max_epochs=1", *options)
    assert done.returncode == 0, done.stderr
    assert "MLflowRun: did not start within 10 s; the run continues without this logger" in done.stdout
    assert time.monotonic() - start < 120  # without the limit, it took 752 s


@pytest.mark.parametrize(
    ("model", "own"),
    [("unet", "Tiny"), ("attn_unet", "Tiny"), ("unet3d", "Tiny3d")],  # unet3d has null values
)
def test_own_network_on_the_command_line_by_the_printed_remedy(model: str, own: str) -> None:
    options = [f"model={model}", f"model._target_={OWN}.{own}", "finetune=none"]
    (problem,) = find_problems("train", ["experiment=demo", *options])
    remedy = problem.partition("remove them: ")[2].replace("'", "").split(" ")
    assert find_problems("train", ["experiment=demo", *options, *remedy]) == []


def test_torch_loss_is_rejected_with_a_remedy() -> None:
    options = [
        "loss._target_=torch.nn.CrossEntropyLoss",
        "~loss.batch",
        "~loss.background",
        "~loss.smooth",
    ]
    (problem,) = find_problems("train", [*SMALL, *options])
    remedy = problem.partition("set ")[2].split(" ")
    assert find_problems("train", [*SMALL, *remedy]) == []
