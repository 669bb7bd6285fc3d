"""Collect the learning curve of a stage for ``result.json``."""

import math
from typing import Any

import pytorch_lightning as pl


class LearningCurve(pl.Callback):
    """Collect one row per epoch in ``epochs``: epoch, learning rate, losses and validation Dice.

    The learning rate is that of the last step of the epoch.
    The names are those that `kitsseg.training.task.SegmentationTask` logs for callbacks. Metrics that
    an epoch did not compute are omitted. Values that are not finite are None, because JSON has no NaN.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self.validated_step = 0  # number of optimizer steps before the latest validation
        self._validated, self._lr = False, 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        self._lr = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.validated_step, self._validated = trainer.global_step, True

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        kinds = ("train/", "val/") if self._validated else ("train/",)
        row: dict[str, Any] = {"epoch": trainer.current_epoch, "lr": self._lr}
        for name, value in trainer.callback_metrics.items():
            if name.startswith(kinds):
                row[name] = float(value) if math.isfinite(value) else None
        # If max_steps ended a run within an epoch, the resumed run ends this epoch a second time.
        self.epochs = [other for other in self.epochs if other["epoch"] < row["epoch"]] + [row]
        self._validated = False

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "validated_step": self.validated_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = list(state_dict["epochs"])
        self.validated_step = state_dict.get("validated_step", 0)
