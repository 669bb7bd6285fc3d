"""``epochs.csv`` and the optimism of the choice of the epoch."""

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl

from kitsseg.evaluation.optimism import optimism
from kitsseg.training.callbacks import case_curves
from kitsseg.training.callbacks.case_curves import CaseCurves, optimism_of_epoch
from kitsseg.training.callbacks.learning_curve import LearningCurve
from tests.helpers.parts import make_data, make_task
from tests.training.test_task import net, trainer


def fit(blocks: Path, home: Path, *callbacks: pl.Callback, epochs: int = 3) -> None:
    run = trainer(max_epochs=epochs, num_sanity_val_steps=1, callbacks=list(callbacks))
    run.fit(make_task(net()), datamodule=make_data(blocks, home / "data"))


def test_every_validated_case_is_written_once(blocks: Path, tmp_path: Path) -> None:
    curve = LearningCurve()
    fit(blocks, tmp_path, curve, CaseCurves(tmp_path, "train"))
    rows = case_curves.read(tmp_path / "epochs.csv")
    validated = make_data(blocks, tmp_path / "data").split.validation
    found = [(row["stage"], int(row["epoch"]), row["case"]) for row in rows]
    assert found == [("train", epoch, case) for epoch in range(3) for case in validated]
    for name in ("val/loss", "val/kidney_dice", "val/tumour_dice", "val/kidney_label_dice"):
        means = [np.mean([float(r[name]) for r in rows if r["epoch"] == str(e)]) for e in range(3)]
        assert means == pytest.approx([row[name] for row in curve.epochs], abs=1e-5)

    fit(blocks, tmp_path, CaseCurves(tmp_path, "finetune"), epochs=1)
    both = case_curves.read(tmp_path / "epochs.csv")
    assert both[: len(rows)] == rows and {row["stage"] for row in both[len(rows) :]} == {"finetune"}
    # An attempt that repeats the epochs of a killed one replaces their rows.
    fit(blocks, tmp_path, CaseCurves(tmp_path, "train"), epochs=2)
    again = [row for row in case_curves.read(tmp_path / "epochs.csv") if row["stage"] == "train"]
    assert again == rows[: 2 * len(validated)]


DICE = np.array([(0.1, 0.8, 0.5), (0.9, 0.2, 0.4), (0.3, 0.6, np.nan)])  # of cases by epoch
LOSS = np.where(np.isnan(DICE), 0.9, 1 - DICE)
ROWS = [
    {
        "stage": "train", "epoch": e, "step": 4 * e, "case": f"c{c}", "val/loss": LOSS[c, e],
        "val/liver_dice": "" if np.isnan(DICE[c, e]) else DICE[c, e],
    }
    for e in range(3) for c in range(3)
]  # fmt: skip


def test_optimism_of_a_file(tmp_path: Path) -> None:
    case_curves.write(tmp_path / "epochs.csv", ROWS)
    found = optimism_of_epoch(tmp_path, "train", 2, "val/loss", "min", ["liver"])
    assert found == {"liver": optimism(DICE, LOSS, "min")} and found["liver"] > 0


@pytest.mark.parametrize(
    ("stage", "best", "monitor"),
    [
        ("finetune", 1, "val/loss"),  # without a validation
        ("train", 4, "val/loss"),  # the file lacks the best epoch
        ("train", 1, "train/loss"),  # the training loss chose the epoch
    ],
)
def test_unknown_optimism_is_left_out(tmp_path: Path, stage: str, best: int, monitor: str) -> None:
    assert optimism_of_epoch(tmp_path, "train", 1, "val/loss", "min", ["liver"]) == {}
    case_curves.write(tmp_path / "epochs.csv", ROWS)
    assert optimism_of_epoch(tmp_path, stage, best, monitor, "min", ["liver"]) == {}
