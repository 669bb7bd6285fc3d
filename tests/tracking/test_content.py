"""A run's figures as every tracker gets them, by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kitsseg.tracking import logged_content, run_ids
from kitsseg.tracking.logged_content import Picture
from tests.reporting.html.made import record, write_run


def test_numbers_are_those_of_table_1() -> None:
    run = record("unet", [0.1, 0.3], [0.2, 0.5])
    assert logged_content.numbers(run) == pytest.approx(
        {
            "final/train_kidney": 0.97, "final/train_tumor": 0.8,
            "final/val_kidney": 0.95, "final/val_tumor": 0.35,
            "before/train_kidney": 0.97, "before/train_tumor": 0.8,
            "before/val_kidney": 0.95, "before/val_tumor": 0.2,
        }
    )  # fmt: skip
    alone = logged_content.numbers(replace(run, after=None))
    assert alone["final/val_tumor"] == pytest.approx(0.2) and "before/val_tumor" not in alone


def test_a_figure_that_does_not_exist_is_left_out() -> None:
    run = record("unet", [None], [None])
    assert "final/val_tumor" not in logged_content.numbers(
        run
    ) and "final/val_kidney" in logged_content.numbers(run)


def test_a_row_a_case() -> None:
    head, rows = logged_content.cases(record("unet", [0.1, None], [0.4, None]))
    assert head[:5] == ["part", "case", "kidney", "tumour", "kidney_before"]
    by_case = {row[1]: dict(zip(head, row, strict=True)) for row in rows}
    one = by_case["case_00010"]
    assert (one["part"], one["tumour"], one["tumour_before"]) == ("validation", 0.4, 0.1)
    assert one["tumour_change"] == pytest.approx(0.3)
    # 1000 voxels of 0.002 ml in truth, 5 predicted; the kidney has 9000.
    assert (one["tumour_ml"], one["tumour_predicted_ml"], one["kidney_ml"]) == (2.0, 0.01, 18.0)
    two = by_case["case_00011"]
    assert two["tumour"] is None and two["tumour_change"] is None and two["kidney"] == 0.95
    assert by_case["case_00001"]["part"] == "train"


def test_without_fine_tuning_nothing_came_before() -> None:
    head, rows = logged_content.cases(replace(record("unet", [0.1], [0.1]), after=None))
    values = dict(zip(head, rows[0], strict=True))
    assert values["tumour"] == 0.1
    assert values["tumour_before"] is None and values["tumour_change"] is None


def test_pictures_hold_the_slice_with_most_tumour(tmp_path: Path) -> None:
    run = record("unet", [0.1, 0.5, 0.9], [0.2, 0.5, 0.9])
    folder = write_run(tmp_path / "run", run)
    found = list(logged_content.pictures(folder, run.final["validation"]))
    assert [p.role for p in found][0] == "best" and {p.role for p in found} == {
        "best",
        "median",
        "worst",
    }
    best = [p for p in found if p.role == "best"]
    assert 3 <= len(best) <= logged_content.SLICES + 1
    assert "case_00012, slice 26: tumour Dice 0.900" in [p.caption for p in best]  # z 20 + start 6
    assert set(best[0].masks) == {"truth", "prediction", "before"}


def test_side_by_side_tints_what_is_marked() -> None:
    image = np.full((2, 3), 100, np.uint8)
    truth, prediction = np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8)
    truth[0, 0], prediction[1, 2] = 1, 2
    both = logged_content.side_by_side(
        Picture("best", "", image, {"truth": truth, "prediction": prediction})
    )
    assert both.shape == (2, 6, 3) and both.dtype == np.uint8
    assert both[0, 0].tolist() == [80, 145, 95]  # halfway between 100 and (60, 190, 90)
    assert both[1, 5].tolist() == [165, 80, 80]
    both[0, 0] = both[1, 5] = 100
    assert (both == 100).all()


def test_best_checkpoints_of_the_stages_there_are(tmp_path: Path) -> None:
    assert logged_content.best_checkpoints(tmp_path) == {}
    for stage in ("finetune", "train"):
        (tmp_path / "checkpoints" / stage).mkdir(parents=True)
        for name in ("best", "last"):
            (tmp_path / "checkpoints" / stage / f"{name}.ckpt").write_bytes(b"x")
    assert list(logged_content.best_checkpoints(tmp_path)) == ["train", "finetune"]


def test_what_a_tracker_keeps_is_added_to(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run_ids.read(folder, "wandb") == {}
    run_ids.keep(folder, "wandb", id="a", step=1)
    run_ids.keep(folder, "mlflow", run_id="b")
    run_ids.keep(folder, "wandb", step=2)
    assert run_ids.read(folder, "wandb") == {"id": "a", "step": 2}
    assert run_ids.read(folder, "mlflow") == {"run_id": "b"}
    for damaged in ("{", "[]", '{"wandb": 3}'):
        (folder / run_ids.NAME).write_text(damaged)
        assert run_ids.read(folder, "wandb") == {}
