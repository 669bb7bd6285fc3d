"""One training stage: callbacks, fitting and resuming, and the best weights."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from kitsseg.inference import checkpoint
from kitsseg.training.callbacks.learning_curve import LearningCurve
from kitsseg.training.callbacks.resume import KeepStopped, SeedSteps
from kitsseg.training.task import SegmentationTask

log = logging.getLogger("kitsseg")


def checkpoint_folder(folder: Path, stage: str) -> Path:
    """Return the folder of a stage's ``best.ckpt`` and ``last.ckpt`` in the folder of a job."""
    return folder / "checkpoints" / stage


def stage_callbacks(folder: Path, stage: str, seed: int, monitor: str, mode: str) -> list[pl.Callback]:
    """Return the callbacks that checkpoint a stage, make it resumable and record its learning curve.

    Args:
        folder: folder of the job.
        stage: ``train`` or ``finetune``.
        seed: seed of the run.
        monitor: logged name by which the best epoch is chosen.
        mode: ``min`` or ``max``.
    """
    # At the end of the epoch, after the task has stepped its scheduler.
    save = partial(
        ModelCheckpoint,
        checkpoint_folder(folder, stage),
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    best = save(filename="best", monitor=monitor, mode=mode)
    last = save(filename="last")  # after `best`, whose state it contains
    return [SeedSteps(seed, stage), KeepStopped(), LearningCurve(), best, last]


def fit(
    trainer: pl.Trainer, task: SegmentationTask, data: pl.LightningDataModule, folder: Path, stage: str
) -> dict[str, Any]:
    """Train a stage, resuming from its ``last.ckpt`` if there is one.

    Returns:
        ``epochs`` (how many ran, and which was the best) and ``curve`` (the learning curve).
    """
    last = checkpoint_folder(folder, stage) / "last.ckpt"
    resume = last.is_file()
    if resume:
        log.info(f"resuming stage {stage} after epoch {checkpoint.read(last)['epoch'] + 1}: {folder}")
    trainer.fit(task, datamodule=data, ckpt_path=last if resume else None)
    trainer.strategy.barrier()  # all ranks read what the first one writes
    best = checkpoint.read(checkpoint_folder(folder, stage) / "best.ckpt")
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    (curve,) = (callback for callback in callbacks if isinstance(callback, LearningCurve))
    return {"epochs": {"run": trainer.current_epoch, "best": best["epoch"] + 1}, "curve": curve.epochs}


def load_best(net: nn.Module, folder: Path, stage: str) -> None:
    """Load the weights of a stage's best epoch into ``net``."""
    best = checkpoint.read(checkpoint_folder(folder, stage) / "best.ckpt")
    net.load_state_dict(checkpoint.weights(best))
