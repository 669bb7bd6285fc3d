"""What trackers show of runs with other classes and regions than KiTS19's."""

import json
from pathlib import Path

import numpy as np
import pytest

from kitsseg.reporting import runs
from kitsseg.tracking import dashboard_layout, run_content, tracking_file, wandb_dashboard
from kitsseg.tracking.run_content import ExampleSlice
from tests.helpers.own_labels import KITS23, PARTS, run_of, write_run


def test_metrics_and_cases_follow_the_regions() -> None:
    run = run_of(KITS23, "unet", [0.5, 0.7], gain=0.1)
    assert list(run_content.summary_metrics(run))[:6] == [
        "final/train_kidney_and_masses", "final/train_masses", "final/train_tumour",
        "final/val_kidney_and_masses", "final/val_masses", "final/val_tumour",
    ]  # fmt: skip
    head, rows = run_content.case_table(run)
    first = dict(zip(head, rows[0], strict=True))
    assert first["masses"] == pytest.approx(0.59) and first["masses_before"] == pytest.approx(0.49)
    assert first["tumour_change"] == pytest.approx(0.1)
    assert (first["masses_ml"], first["tumour_predicted_ml"]) == (10.0, 0.6)
    assert len(run_content.case_table(run_of(PARTS, "unet", [0.5]))[0]) == 2 + 3 * 63 + 2


def test_overlays_have_the_colours_of_the_classes() -> None:
    mask = np.array([[0, 3]], np.uint8)
    image = np.full((1, 2), 100, np.uint8)
    picture = run_content.overlay(ExampleSlice("best", 0, "", image, {"truth": mask}), KITS23)
    # The colour #009e73 of the third class, blended half and half with 100.
    assert picture.tolist() == [[[100, 100, 100], [50, 129, 107]]]


def test_panels_follow_the_regions(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", run_of(KITS23, "unet", [0.5, 0.7], gain=0.1))
    tracking_file.update(folder, "wandb", id="one", project="p", entity="e", group=None)
    layout = dashboard_layout.make_layout(runs.find_jobs([folder]), folder, None, None)
    titles = [panel.title for panel in layout.sections["By model"]]
    assert titles[:3] == ["val tumour", "val kidney and masses", "val masses"]
    points = layout.sections["Before and after fine-tuning"][-1]
    assert (points.title, points.x) == ("Tumour, one point per run", "before/val_tumour")
    assert "Val kidney and masses" in layout.table
    sent = json.dumps(json.loads(wandb_dashboard.to_json(wandb_dashboard.make_workspace(layout))))
    assert "summary:final/val_masses" in sent and "summary:final/train_masses" not in sent
