"""One training stage: its callbacks, fitting, resuming, and the best weights."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from kitsseg.inference import checkpoint
from kitsseg.training import checks
from kitsseg.training.callbacks.case_curves import CaseCurves, copy_epochs
from kitsseg.training.callbacks.learning_curve import LearningCurve
from kitsseg.training.callbacks.resume import KeepStopped, SeedSteps
from kitsseg.training.task import SegmentationTask

log = logging.getLogger("kitsseg")


def checkpoint_folder(folder: Path, stage: str) -> Path:
    """Return the folder of a stage's ``best.ckpt`` and ``last.ckpt`` in the folder of a job."""
    return folder / "checkpoints" / stage


class BestCheckpoint(ModelCheckpoint):
    """Write ``best.ckpt`` after each validation that is the best so far.

    It is a subclass so that its state does not collide with that of a user's `ModelCheckpoint`.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best value, also if the checkpoint is from the folder of another run."""
        path, score = str(Path(str(self.dirpath)) / "best.ckpt"), state_dict["best_model_score"]
        moved = {"dirpath": self.dirpath, "best_model_path": path, "kth_best_model_path": path}
        if score is not None:
            state_dict = state_dict | moved | {"best_k_models": {path: score}}
        super().load_state_dict(state_dict)


class LastCheckpoint(ModelCheckpoint):
    """Write ``last.ckpt`` at the end of each epoch, after the task has stepped its scheduler."""


def stage_callbacks(folder: Path, stage: str, seed: int, monitor: str, mode: str) -> list[pl.Callback]:
    """Return the callbacks that write checkpoints, make a stage resumable and record its curves.

    Args:
        folder: folder of the job.
        stage: ``train`` or ``finetune``.
        seed: seed of the run.
        monitor: name of the logged metric that selects the best epoch.
        mode: ``min`` or ``max``.
    """
    best = BestCheckpoint(
        checkpoint_folder(folder, stage), "best", monitor=monitor, mode=mode,
        save_on_train_epoch_end=False, enable_version_counter=False,
    )  # fmt: skip
    last = LastCheckpoint(
        checkpoint_folder(folder, stage), "last", save_on_train_epoch_end=True,
        enable_version_counter=False,
    )  # fmt: skip
    return [
        SeedSteps(seed, stage),
        KeepStopped(),
        LearningCurve(),
        CaseCurves(folder, stage),
        best,
        last,
    ]


def fit(
    trainer: pl.Trainer,
    task: SegmentationTask,
    data: pl.LightningDataModule,
    folder: Path,
    stage: str,
    resume_from: Path | None = None,
) -> dict[str, Any]:
    """Train a stage, resuming from its ``last.ckpt`` if there is one.

    If there was no validation, ``best.ckpt`` holds the last weights.

    Args:
        resume_from: ``last.ckpt`` of another run, which this stage continues.

    Returns:
        ``epochs`` (how many ran, and which was the best) and ``curve`` (the learning curve).
    """
    place = checkpoint_folder(folder, stage)
    last, best = place / "last.ckpt", place / "best.ckpt"
    resume = last if last.is_file() else resume_from
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if resume is not None:
        if resume is resume_from:
            check_other_run(task, resume, trainer.max_epochs)
            for callback in (c for c in callbacks if isinstance(c, KeepStopped)):
                callback.is_other_run = True
        trained = checkpoint.read(resume)["epoch"] + 1
        log.info(f"resuming stage {stage} after epoch {trained}: {folder}")
        if resume is resume_from and trainer.is_global_zero:
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(resume.with_name("best.ckpt"), best)
            copy_epochs(resume.parent / ".." / "..", folder, stage)
    elif trainer.is_global_zero:
        best.unlink(missing_ok=True)  # left by an attempt that ended within its first epoch
    trainer.fit(task, datamodule=data, ckpt_path=resume)
    if trainer.should_stop and trainer.current_epoch < (trainer.max_epochs or 0):
        log.info(f"stage {stage} stopped after epoch {trainer.current_epoch} of {trainer.max_epochs}")
    trainer.strategy.barrier()  # other ranks read the files of the first one
    if trainer.strategy.broadcast(not best.is_file()):
        log.warning(f"stage {stage} ended without a best.ckpt: using the last weights")
        trainer.save_checkpoint(best)
    (curve,) = (callback for callback in callbacks if isinstance(callback, LearningCurve))
    epochs = {
        "run": trainer.current_epoch,
        "best": min(trainer.current_epoch, checkpoint.read(best)["epoch"] + 1),
    }
    if (
        steps := trainer.global_step - curve.validated_step
    ) and trainer.max_steps == trainer.global_step:
        log.warning(f"max_steps ended stage {stage} within an epoch: {steps} steps not validated")
    return {"epochs": epochs, "curve": curve.epochs}


def check_other_run(task: SegmentationTask, path: Path, max_epochs: int | None) -> None:
    """Raise `ValueError` unless ``task`` can continue from the ``last.ckpt`` of another run."""
    if path.name == "best.ckpt":
        raise ValueError(
            f"resume_from={path}: was written before its epoch ended; use the last.ckpt beside it"
        )
    checks.fitting_weights(task.net, path, True, "resume_from")
    content = checkpoint.read(path)
    trained = content["epoch"] + 1
    if max_epochs is not None and max_epochs <= trained:
        raise ValueError(
            f"resume_from={path}: was trained for {trained} epochs; trainer.max_epochs={max_epochs} "
            f"must be above {trained}"
        )
    if not path.with_name("best.ckpt").is_file():
        raise ValueError(
            f"resume_from={path}: needs the best.ckpt of its run beside it; copy it as well"
        )
    old, new = (_optimizer(header) for header in (content.get("kitsseg"), task.header))
    for name in (name for name in old if name in new and old[name] != new[name]):
        raise ValueError(
            f"resume_from={path}: its optimizer has {name}={old[name]}, not {new[name]}; set "
            f"optimizer.{name}={old[name]}, or load only the weights with init_from"
        )


def _optimizer(header: dict[str, Any] | None) -> dict[str, Any]:
    """Return the settings of the optimizer in the description of a checkpoint."""
    config = ((header or {}).get("provenance") or {}).get("config") or {}
    return dict(config.get("optimizer") or {})


def load_best(net: nn.Module, folder: Path, stage: str) -> None:
    """Load the weights of a stage's best epoch into ``net``."""
    best = checkpoint.read(checkpoint_folder(folder, stage) / "best.ckpt")
    net.load_state_dict(checkpoint.weights(best))


def initialize(net: nn.Module, path: Path, strict: bool) -> None:
    """Load the weights of a checkpoint into ``net``; all must fit if ``strict``."""
    fitting, differing = checks.fitting_weights(net, path, strict)
    net.load_state_dict(fitting, strict=False)
    rest = f"; {len(differing)} weights differ and are not loaded" if differing else ""
    log.info(f"loaded {len(fitting)} weights from {path}{rest}")
