"""Write the metrics of each case to ``epochs.csv`` after each validation."""

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from kitsseg.reporting.run_record import EPOCHS, read_epochs
from kitsseg.system.files import write_csv


class CaseCurves(pl.Callback):
    """Write ``epochs.csv``: loss and Dice of every validation case after every validation.

    The columns are ``stage``, ``epoch`` from 0, ``step`` (optimizer steps), ``case``, and the names
    that `kitsseg.training.task.SegmentationTask` logs. Dice is computed on the prepared slices, and
    empty where it is undefined. A repeated validation of a resumed run replaces its rows.

    Args:
        folder: folder of the job.
        stage: ``train`` or ``finetune``.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self.folder, self.stage = folder, stage

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        ids = trainer.datamodule.store.ids  # type: ignore[attr-defined]
        metrics: Any = module.case_metrics
        head = {"stage": self.stage, "epoch": trainer.current_epoch, "step": trainer.global_step}
        rows: list[dict[str, Any]] = []
        for case, *values in zip(*metrics.values(), strict=True):
            texts = ("" if math.isnan(value) else f"{value:.6g}" for value in values)
            rows.append(head | {"case": ids[case]} | dict(zip(list(metrics)[1:], texts, strict=True)))
        rows = [
            row
            for row in read_epochs(self.folder)
            if row["stage"] != self.stage or int(row["step"]) < trainer.global_step
        ] + rows
        write_csv(self.folder / EPOCHS, rows[0], rows)


def copy_epochs(source: Path, target: Path, stage: str) -> None:
    """Copy the rows of ``stage`` from the run that this run continues."""
    if rows := [row for row in read_epochs(source) if row["stage"] == stage]:
        write_csv(target / EPOCHS, rows[0], rows)
