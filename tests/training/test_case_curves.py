"""``epochs.csv``: the metrics of each case after each validation."""

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl

from kitsseg.reporting.run_record import read_epochs
from kitsseg.training.callbacks.case_curves import CaseCurves
from kitsseg.training.callbacks.learning_curve import LearningCurve
from tests.helpers.parts import make_data, make_task
from tests.training.test_task import net, trainer


def fit(blocks: Path, home: Path, *callbacks: pl.Callback, epochs: int = 3) -> None:
    run = trainer(max_epochs=epochs, num_sanity_val_steps=1, callbacks=list(callbacks))
    run.fit(make_task(net()), datamodule=make_data(blocks, home / "data"))


def test_every_validated_case_is_written_once(blocks: Path, tmp_path: Path) -> None:
    curve = LearningCurve()
    fit(blocks, tmp_path, curve, CaseCurves(tmp_path, "train"))
    rows = read_epochs(tmp_path)
    validated = make_data(blocks, tmp_path / "data").split.validation
    found = [(row["stage"], int(row["epoch"]), row["case"]) for row in rows]
    assert found == [("train", epoch, case) for epoch in range(3) for case in validated]
    for name in ("val/loss", "val/kidney_dice", "val/tumour_dice", "val/kidney_label_dice"):
        means = [np.mean([float(r[name]) for r in rows if r["epoch"] == str(e)]) for e in range(3)]
        assert means == pytest.approx([row[name] for row in curve.epochs], abs=1e-5)

    fit(blocks, tmp_path, CaseCurves(tmp_path, "finetune"), epochs=1)
    both = read_epochs(tmp_path)
    assert both[: len(rows)] == rows and {row["stage"] for row in both[len(rows) :]} == {"finetune"}
    # An attempt that repeats the epochs of a killed one replaces their rows.
    fit(blocks, tmp_path, CaseCurves(tmp_path, "train"), epochs=2)
    again = [row for row in read_epochs(tmp_path) if row["stage"] == "train"]
    assert again == rows[: 2 * len(validated)]
