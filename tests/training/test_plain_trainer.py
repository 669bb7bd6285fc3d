"""The task and the data module work in a plain Trainer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from kitsseg import Augmentation, PatchDataModule, SegmentationTask, Segmenter
from kitsseg.data.case import Case
from kitsseg.data.sources.kits import Kits19
from kitsseg.data.split import Seeded
from kitsseg.models.unet import AttentionUNet
from kitsseg.training.callbacks.learning_curve import LearningCurve
from tests.helpers.parts import make_data


def trainer(folder: Path, **options: object) -> pl.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return pl.Trainer(accelerator="cpu", default_root_dir=folder, **(quiet | options))  # type: ignore[arg-type]


def test_train_test_predict_and_load(block_cases: list[Case], tmp_path: Path) -> None:
    data = make_data(block_cases[0].image.parent.parent, tmp_path)
    saved = ModelCheckpoint(tmp_path, filename="best", monitor="val/loss")
    runner = trainer(tmp_path, max_epochs=2, callbacks=[saved])
    task = SegmentationTask(AttentionUNet(width=4, depth=2))
    runner.fit(task, datamodule=data)
    (metrics,) = runner.test(task, datamodule=data, verbose=False)
    assert metrics["val/loss"] == float(runner.callback_metrics["val/loss"])
    predicted = runner.predict(task, datamodule=data)
    assert sum(map(len, predicted)) == 12 and predicted[0].dtype == torch.uint8  # two cases of 6 slices
    # The checkpoint describes the network: no constructor arguments are needed.
    loaded = SegmentationTask.load_from_checkpoint(tmp_path / "best.ckpt")
    image = torch.from_numpy(np.random.default_rng(0).integers(-200, 300, (1, 1, 64, 64)))
    stored = torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(stored[f"net.{k}"], v) for k, v in loaded.net.state_dict().items())
    assert loaded.eval()(image).shape == (1, 3, 64, 64)
    label = Segmenter.load(tmp_path / "best.ckpt", device="cpu")(block_cases[0].image)
    assert label.shape == (6, 64, 64)
    trainer(tmp_path, max_epochs=1).fit(loaded, datamodule=data)  # training continues


def test_a_3d_network_is_trained_and_applied(blocks: Path, tmp_path: Path) -> None:
    augmentation, split = Augmentation([]), Seeded(0.33)
    data = PatchDataModule(blocks, Kits19(), split, augmentation, tmp_path, patch=[4, 48, 48])
    options = {"dims": 3, "depth": 2, "width": 4, "strides": None, "kernels": None}
    net = AttentionUNet(**data.adapt(options))
    saved = ModelCheckpoint(tmp_path, filename="best", monitor="val/loss")
    runner = trainer(tmp_path, max_epochs=1, callbacks=[saved])
    runner.fit(SegmentationTask(net), datamodule=data)
    (predicted, *_) = runner.predict(SegmentationTask(net), datamodule=data)
    assert predicted.shape == (2, 4, 48, 48) and predicted.dtype == torch.uint8
    image = next(blocks.rglob("imaging.nii.gz"))
    assert Segmenter.load(tmp_path / "best.ckpt", device="cpu")(image).shape == (6, 64, 64)


def test_a_run_that_ended_within_an_epoch_resumes_with_the_next_batch(
    block_cases: list[Case], tmp_path: Path
) -> None:
    def fit(folder: Path, steps: int, resume: Path | None = None) -> tuple[SegmentationTask, list[int]]:
        data = make_data(block_cases[0].image.parent.parent, tmp_path, batch_size=2)
        torch.manual_seed(0)
        task, curve = SegmentationTask(AttentionUNet(width=4, depth=2)), LearningCurve()
        saved = ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True)
        runner = trainer(tmp_path, max_steps=steps, callbacks=[saved, curve], num_sanity_val_steps=0)
        runner.fit(task, datamodule=data, ckpt_path=resume)
        assert runner.num_training_batches == 6
        return task, [row["epoch"] for row in curve.epochs]

    whole, epochs = fit(tmp_path / "whole", 14)
    assert epochs == [0, 1, 2]
    for steps in (8, 6):  # within the second epoch, and at the end of the first
        fit(tmp_path / str(steps), steps)
        resumed, epochs = fit(tmp_path / "resumed", 14, tmp_path / str(steps) / "last.ckpt")
        assert epochs == [0, 1, 2]
        weights = zip(whole.net.parameters(), resumed.net.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in weights)


BATCH, EPOCH = {"every_n_train_steps": 4}, {"save_on_train_epoch_end": True}
VALIDATION = {"save_on_train_epoch_end": False}


@pytest.mark.parametrize(
    ("saving", "file", "workers"),
    [(BATCH, "step=8", 1), (EPOCH, "step=6", 1), (VALIDATION, "step=8", 0), (VALIDATION, "step=10", 1)],
)
def test_a_checkpoint_of_lightning_resumes_with_the_next_batch(
    saving: dict[str, Any], file: str, workers: int, block_cases: list[Case], tmp_path: Path
) -> None:
    def fit(callbacks: list[pl.Callback], epochs: int, resume: Path | None = None) -> None:
        options = {"callbacks": callbacks, "max_epochs": epochs, "val_check_interval": 2}
        data = make_data(block_cases[0].image.parent.parent, tmp_path, batch_size=2, workers=workers)
        task = SegmentationTask(AttentionUNet(width=4, depth=2))
        trainer(tmp_path, enable_checkpointing=resume is None, **options).fit(
            task, datamodule=data, ckpt_path=resume
        )

    class Note(pl.Callback):
        def __init__(self) -> None:
            self.seen: list[tuple[int, int, list[int]]] = []

        def on_train_batch_start(self, trainer, module, batch, index) -> None:  # type: ignore[no-untyped-def]
            self.seen.append((trainer.current_epoch, index, batch["row"].tolist()))

    whole, resumed = Note(), Note()
    fit([whole, ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, **saving)], 2)
    fit([resumed], 2, tmp_path / f"{file}.ckpt")
    assert resumed.seen == whole.seen[int(file[5:]) :]


def test_overfit_batches_repeats_one_batch(block_cases: list[Case], tmp_path: Path) -> None:
    data = make_data(block_cases[0].image.parent.parent, tmp_path)
    seen: list[torch.Tensor] = []

    class Note(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, index) -> None:  # type: ignore[no-untyped-def]
            seen.append(batch["image"].clone())

    task = SegmentationTask(AttentionUNet(width=4, depth=2))
    trainer(tmp_path, max_epochs=3, overfit_batches=1, callbacks=[Note()]).fit(task, datamodule=data)
    assert len(seen) == 3 and all(torch.equal(seen[0], batch) for batch in seen)


def test_gradients_of_a_fused_optimizer_are_clipped(block_cases: list[Case], tmp_path: Path) -> None:
    data = make_data(block_cases[0].image.parent.parent, tmp_path)
    seen: list[torch.Tensor] = []

    class Note(pl.Callback):
        def on_before_zero_grad(self, trainer, module, optimizer) -> None:  # type: ignore[no-untyped-def]
            grads = [p.grad for p in module.parameters() if p.grad is not None]
            if grads:
                seen.append(torch.cat([g.flatten() for g in grads]))

    def adam(parameters: object) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, fused=True)  # type: ignore[arg-type]

    def gradients(limit: float, algorithm: str) -> list[torch.Tensor]:
        seen.clear()
        task = SegmentationTask(AttentionUNet(width=4, depth=2), optimizer=adam)
        options = {"gradient_clip_val": limit, "gradient_clip_algorithm": algorithm, "max_epochs": 1}
        trainer(tmp_path, callbacks=[Note()], **options).fit(task, datamodule=data)
        return list(seen)

    assert all(0 < gradient.norm() <= 1.001e-3 for gradient in gradients(1e-3, "norm"))
    assert all(gradient.abs().max() == pytest.approx(1e-4) for gradient in gradients(1e-4, "value"))
    assert all(gradient.norm() > 1e-3 for gradient in gradients(0, "norm"))  # 0 does not clip
