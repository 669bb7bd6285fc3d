"""The learning curve of a stage, kept for the record: what was logged, a row an epoch."""

import math
from typing import Any

import pytorch_lightning as pl


class Curve(pl.Callback):
    """After each epoch a row in ``epochs``: its number, the learning rate, losses, validation Dice.

    The names are those of `kitsseg.training.task.SegmentationTask` without its prefix. What an epoch didn't
    measure is missing, and what isn't finite is None: JSON knows no NaN.
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
            own = name.removeprefix(prefix)
            if name.startswith(prefix) and own.startswith(kinds):
                row[own] = float(value) if math.isfinite(value) else None
        self.epochs.append(row)
        self._validated = False

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = list(state_dict["epochs"])
