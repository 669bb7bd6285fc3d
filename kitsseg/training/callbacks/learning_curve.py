"""The learning curve of a stage, for the record of the run."""

import math
from typing import Any

import pytorch_lightning as pl


class LearningCurve(pl.Callback):
    """Collect one row per epoch in ``epochs``: epoch, learning rate, losses and validation Dice.

    Names are those that `kitsseg.training.task.SegmentationTask` logs, without its prefix. Metrics that
    an epoch did not compute are missing; values that are not finite are None, since JSON has no NaN.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        prefix = getattr(module, "prefix", "")
        kinds = ("train/", "val/") if self._validated else ("train/",)
        row: dict[str, Any] = {"epoch": trainer.current_epoch}
        row["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        for name, value in trainer.callback_metrics.items():
            short = name.removeprefix(prefix)
            if name.startswith(prefix) and short.startswith(kinds):
                row[short] = float(value) if math.isfinite(value) else None
        self.epochs.append(row)
        self._validated = False

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = list(state_dict["epochs"])
