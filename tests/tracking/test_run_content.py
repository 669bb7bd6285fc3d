"""The content that all trackers show, compared with values computed by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kitsseg.data.labels import KITS19
from kitsseg.tracking import run_content, tracking_file
from kitsseg.tracking.run_content import ExampleSlice
from tests.reporting.html.made import record, write_run


def test_summary_metrics_are_those_of_table_1() -> None:
    run = record("unet", [0.1, 0.3], [0.2, 0.5])
    assert run_content.summary_metrics(run) == pytest.approx(
        {
            "final/train_kidney": 0.97, "final/train_tumor": 0.8,
            "final/val_kidney": 0.95, "final/val_tumor": 0.35,
            "before/train_kidney": 0.97, "before/train_tumor": 0.8,
            "before/val_kidney": 0.95, "before/val_tumor": 0.2,
        }
    )  # fmt: skip
    alone = run_content.summary_metrics(replace(run, after=None))
    assert alone["final/val_tumor"] == pytest.approx(0.2) and "before/val_tumor" not in alone


def test_undefined_metrics_are_left_out() -> None:
    run = record("unet", [None], [None])
    assert "final/val_tumor" not in run_content.summary_metrics(
        run
    ) and "final/val_kidney" in run_content.summary_metrics(run)


def test_one_row_per_case() -> None:
    head, rows = run_content.case_table(record("unet", [0.1, None], [0.4, None]))
    assert head[:5] == ["part", "case", "kidney", "tumour", "kidney_before"]
    by_case = {row[1]: dict(zip(head, row, strict=True)) for row in rows}
    one = by_case["case_00010"]
    assert (one["part"], one["tumour"], one["tumour_before"]) == ("validation", 0.4, 0.1)
    assert one["tumour_change"] == pytest.approx(0.3)
    # Voxels of 0.002 ml: tumour truth 1000, tumour prediction 5, kidney truth 9000.
    assert (one["tumour_ml"], one["tumour_predicted_ml"], one["kidney_ml"]) == (2.0, 0.01, 18.0)
    two = by_case["case_00011"]
    assert two["tumour"] is None and two["tumour_change"] is None and two["kidney"] == 0.95
    assert by_case["case_00001"]["part"] == "train"


def test_without_fine_tuning_the_columns_before_are_empty() -> None:
    head, rows = run_content.case_table(replace(record("unet", [0.1], [0.1]), after=None))
    values = dict(zip(head, rows[0], strict=True))
    assert values["tumour"] == 0.1
    assert values["tumour_before"] is None and values["tumour_change"] is None


def test_example_slices_include_the_one_with_most_tumour(tmp_path: Path) -> None:
    run = record("unet", [0.1, 0.5, 0.9], [0.2, 0.5, 0.9])
    folder = write_run(tmp_path / "run", run)
    found = list(run_content.example_slices(folder, run))
    assert [p.role for p in found][0] == "best" and {p.role for p in found} == {
        "best",
        "median",
        "worst",
    }
    best = [p for p in found if p.role == "best"]
    assert 3 <= len(best) <= run_content.SLICES_PER_CASE + 1
    assert "case_00012, slice 26: tumour Dice 0.900" in [p.caption for p in best]  # first z 20, start 6
    assert set(best[0].masks) == {"truth", "prediction", "before"}


def test_overlay_colours_the_masks() -> None:
    image = np.full((2, 3), 100, np.uint8)
    truth, prediction = np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8)
    truth[0, 0], prediction[1, 2] = 1, 2
    both = run_content.overlay(
        ExampleSlice("best", 0, "", image, {"truth": truth, "prediction": prediction}), KITS19
    )
    assert both.shape == (2, 6, 3) and both.dtype == np.uint8
    assert both[0, 0].tolist() == [93, 140, 166]  # mean of 100 and #56b4e9
    assert both[1, 5].tolist() == [165, 129, 50]  # and #e69f00
    both[0, 0] = both[1, 5] = 100
    assert (both == 100).all()


def test_best_checkpoints_of_existing_stages(tmp_path: Path) -> None:
    assert run_content.best_checkpoints(tmp_path) == {}
    for stage in ("finetune", "train"):
        (tmp_path / "checkpoints" / stage).mkdir(parents=True)
        for name in ("best", "last"):
            (tmp_path / "checkpoints" / stage / f"{name}.ckpt").write_bytes(b"x")
    assert list(run_content.best_checkpoints(tmp_path)) == ["train", "finetune"]


def test_the_tracking_file_is_updated_and_may_be_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert tracking_file.read(folder, "wandb") == {}
    tracking_file.update(folder, "wandb", id="a", step=1)
    tracking_file.update(folder, "mlflow", run_id="b")
    tracking_file.update(folder, "wandb", step=2)
    assert tracking_file.read(folder, "wandb") == {"id": "a", "step": 2}
    assert tracking_file.read(folder, "mlflow") == {"run_id": "b"}
    for damaged in ("{", "[]", '{"wandb": 3}'):
        (folder / tracking_file.NAME).write_text(damaged)
        assert tracking_file.read(folder, "wandb") == {}
