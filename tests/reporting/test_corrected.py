"""Means that are corrected for the choice of the epoch and of the recipe, from records to tables."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitsseg.reporting import run_record, tables
from kitsseg.reporting.run_record import Record, Validated
from tests.helpers.records import part, record, validated

# By hand as in test_optimism: the best mean is 0.5, the optimism 0.5.
DICE = np.array([[1.0, 0.0], [0.0, 0.8]])
CONFIG = {"checkpoint": {"monitor": "val/loss", "mode": "min"}}


def run(model: str = "unet", seed: int = 0, **changes: Any) -> Record:
    """Return a run of two epochs; Dice chooses the first, whose mean is 0.5."""
    curves = {"val/loss": 1 - DICE, "val/kidney_dice": DICE, "val/tumour_dice": DICE}
    stage = Validated(["case_00000", "case_00001"], [0, 1], curves)
    base = validated(model, [1.0, 0.2], seed=seed)
    options = {"validated": {"train": stage}, "epochs": {"train": {"best": 1}}, "config": CONFIG}
    return record(model, seed, before=base.before, **options | changes)


def test_the_optimism_of_the_epoch_is_subtracted() -> None:
    done = tables.study([run(), run(seed=1), validated("old", [0.5, 0.7])])
    text = tables.table1_markdown(done)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:8]]
    assert lines[0][-2:] == ["Val Kidney corrected", "Val Tumor corrected"]
    assert [line[-2:] for line in lines[2:]] == [["0.100", "0.100"], *[["", ""]] * 3]  # 0.6 - 0.5
    assert "a bootstrap over cases that repeats the choice of the epoch" in text
    row = next(csv.DictReader(tables.texts(done)["table1.csv"].splitlines()))
    assert float(row["Val Tumor corrected"]) == pytest.approx(0.1) and row["Train Tumor corrected"] == ""
    assert "Val Kidney corrected" in tables.texts(done)["table1.tex"]


@pytest.mark.parametrize(
    "changes",
    [
        {"validated": {}},  # a record without epochs.csv
        {"epochs": {"train": {"best": 3}}},  # the file lacks the best epoch
        {"config": {"checkpoint": {"monitor": "train/loss", "mode": "min"}}},
        {"after": {"train": part([1.0], [1.0]), "validation": part([0.9, 0.8], [0.5, 0.7])}},
    ],
)
def test_without_the_metrics_of_the_choice_the_cell_is_empty(changes: dict[str, Any]) -> None:
    text = tables.table1_markdown(tables.study([run(**changes)])).split("Before")[0]
    assert "corrected" not in text or "after" in changes
    done = tables.study([run(), run(seed=1, **changes)])  # one of two runs
    assert done.final[0][2].corrected != done.final[0][2].corrected


def test_the_best_of_several_recipes() -> None:
    runs = [validated("a", [1.0, 0.0]), validated("b", [0.0, 0.8])]
    (line,) = tables.best_lines(tables.study(runs))
    assert line == (
        "Best of 2 recipes on common validation cases: tumour (2 cases): a, mean Dice 0.500 (0.000 "
        "after correction for the choice of the recipe); kidney (2 cases): a, mean Dice 0.500 (0.000 "
        "after correction for the choice of the recipe)."
    )
    assert f"\n\n{line}\n\n" in tables.table1_markdown(tables.study(runs))
    (line,) = tables.best_lines(tables.study([run("a"), run("b")]))
    assert (
        "a, mean Dice 0.600 (0.100 after correction for the choice of the recipe and the epoch)" in line
    )
    assert not tables.best_lines(tables.study(runs[:1]))
    assert not tables.best_lines(tables.study([*runs, validated("c", [0.5, 0.5], first=7)]))


def test_epochs_are_read_beside_the_record(tmp_path: Path) -> None:
    record().write(tmp_path)
    (tmp_path / "epochs.csv").write_text(
        "stage,epoch,step,case,val/loss,val/liver_dice\n"
        "train,0,4,b,0.2,0.9\ntrain,0,4,a,0.1,\ntrain,2,12,a,0.3,0.5\nfinetune,0,2,a,0.4,0.6\n"
    )
    found = run_record.read(tmp_path / "result.json").validated
    train = found["train"]
    assert (train.cases, train.epochs) == (["a", "b"], [0, 2])
    assert np.array_equal(train.values["val/loss"], [[0.1, 0.3], [0.2, np.nan]], equal_nan=True)
    assert np.isnan(train.values["val/liver_dice"][0, 0])
    assert found["finetune"].values["val/liver_dice"].tolist() == [[0.6]]
    (tmp_path / "epochs.csv").write_text("stage,epoch,step,case,val/loss\ntrain,x,4,b,0.2\n")
    with pytest.raises(ValueError, match=r"epochs.csv: is damaged .*; remove it"):
        run_record.read(tmp_path / "result.json")
    (tmp_path / "epochs.csv").unlink()
    assert run_record.read(tmp_path / "result.json").validated == {}
