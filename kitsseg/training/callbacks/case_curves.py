"""Write the metrics of each case after each validation, and read them to correct for the best epoch."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl

from kitsseg.evaluation.optimism import optimism
from kitsseg.system.files import write_text

NAME = "epochs.csv"


class CaseCurves(pl.Callback):
    """Write ``epochs.csv``: loss and Dice of every validation case after every validation.

    The columns are ``stage``, ``epoch`` from 0, ``step`` (optimizer steps), ``case``, and the names
    that `kitsseg.training.task.SegmentationTask` logs. Dice is that of the prepared slices, and empty
    where it is undefined. A repeated validation of a resumed run replaces its rows.

    Args:
        folder: folder of the job.
        stage: ``train`` or ``finetune``.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self.path, self.stage = folder / NAME, stage

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        ids = trainer.datamodule.store.ids  # type: ignore[attr-defined]
        metrics: Any = module.case_metrics
        head = {"stage": self.stage, "epoch": trainer.current_epoch, "step": trainer.global_step}
        rows = []
        for case, *values in zip(*metrics.values(), strict=True):
            texts = ("" if math.isnan(value) else f"{value:.6g}" for value in values)
            rows.append(head | {"case": ids[case]} | dict(zip(list(metrics)[1:], texts, strict=True)))
        kept = [
            row
            for row in read(self.path)
            if row["stage"] != self.stage or int(row["step"]) < trainer.global_step
        ]
        write(self.path, [*kept, *rows])


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of ``epochs.csv``; none if the file does not exist."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write ``epochs.csv`` atomically; there must be a row."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, out.getvalue())


def optimism_of_epoch(
    folder: Path, stage: str, best: int, monitor: str, mode: str, regions: Sequence[str]
) -> dict[str, float]:
    """Return by how much the choice of the epoch raised the mean validation Dice of each region.

    Args:
        folder: folder of the job.
        stage: ``train`` or ``finetune``.
        best: number of the chosen epoch, from 1.
        monitor: metric that chose it; ``mode`` is ``min`` or ``max``.
        regions: names of the regions.

    Returns:
        Dice by region. A region is left out if its optimism is undefined, and all are if the file lacks
        the chosen epoch or the metric that chose it.
    """
    rows = [row for row in read(folder / NAME) if row["stage"] == stage]
    if not rows or monitor not in rows[0] or str(best - 1) not in {row["epoch"] for row in rows}:
        return {}
    cases = {case: i for i, case in enumerate(sorted({row["case"] for row in rows}))}
    steps = {step: i for i, step in enumerate(dict.fromkeys(row["step"] for row in rows))}

    def table(column: str) -> npt.NDArray[np.float64]:
        values = np.full((len(cases), len(steps)), np.nan)
        for row in rows:
            values[cases[row["case"]], steps[row["step"]]] = float(row[column] or "nan")
        return values

    chosen_by = table(monitor)
    found = {region: optimism(table(f"val/{region}_dice"), chosen_by, mode) for region in regions}
    return {region: value for region, value in found.items() if not math.isnan(value)}
