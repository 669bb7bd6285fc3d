"""A small sweep with all loggers and one failed job, as each tracker stores it."""

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kitsseg.evaluation import metrics
from kitsseg.reporting import run_record, runs
from kitsseg.tracking import dashboard_layout, run_content, tracking_file, wandb_dashboard
from tests.commands.test_train import SMALL
from tests.helpers.forks import command
from tests.tracking.reading import only
from tests.tracking.test_dashboard import panels

Sweep = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    home = tmp_path_factory.mktemp("tracked")
    (home / "mine" / "logger").mkdir(parents=True)
    (home / "mine" / "logger" / "all.yaml").write_text("defaults: [wandb, tensorboard, mlflow]\n")
    done = command(
        home, "--config-dir", "mine", "-m", *SMALL, "logger=all", "model=unet",
        "data.exclude=[case_99999],[]",
    )  # fmt: skip
    (table,) = (home / "outputs" / "demo").rglob("table1.md")
    return table.parent, done


def jobs(sweep: Sweep) -> tuple[Path, Path]:
    found = {
        json.loads(path.read_text())["status"]: path.parent for path in sweep[0].rglob("status.json")
    }
    return found["failed"], found["complete"]


def group(sweep: Sweep) -> str:
    """Return the path of the sweep relative to the output folder."""
    parts = sweep[0].parts
    return "/".join(parts[parts.index("outputs") + 1 :])


def test_no_tracker_prints_anything(sweep: Sweep) -> None:
    assert sweep[1].returncode == 1  # a job failed
    assert "data.exclude=['case_99999']" in sweep[1].stderr
    said = (sweep[1].stdout + sweep[1].stderr).lower()
    assert not [
        word for word in ("wandb:", "mlflow:", "alembic", "run continues", "not logged") if word in said
    ]


def test_each_job_is_one_run_with_its_state(sweep: Sweep) -> None:
    bad, good = (only(folder) for folder in jobs(sweep))
    assert (bad.exit_code, good.exit_code) == (1, 0)
    assert bad.summary["error"].startswith("ValueError: data.exclude=")
    assert bad.run["run_group"] == good.run["run_group"] == group(sweep)
    assert bad.run["run_id"] != good.run["run_id"] and good.run["job_type"] == "train"


def test_curves_equal_those_of_the_record(sweep: Sweep) -> None:
    folder = jobs(sweep)[1]
    held, record = only(folder), run_record.read(folder / "result.json")
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    known = tracking_file.read(folder, "mlflow")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(known["tracking_uri"])
    for stage, prefix in (("train", ""), ("finetune", "finetune/")):
        for name in ("train/loss", "val/loss", "val/tumour_dice"):
            values = [epoch[name] for epoch in record.curves[stage]]
            assert held.curve(prefix + name) == pytest.approx(values)
            assert [e.value for e in events.Scalars(prefix + name)] == pytest.approx(values)
            history = client.get_metric_history(known["run_id"], prefix + name)
            assert [m.value for m in history] == pytest.approx(values)
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    for name, value in run_content.summary_metrics(record).items():
        assert held.summary[name] == pytest.approx(value)
        assert events.Scalars(name)[-1].value == pytest.approx(value)
        assert client.get_run(known["run_id"]).data.metrics[name] == pytest.approx(value)
        assert [float(row[name]) for row in rows if row.get(name)] == pytest.approx([value])
    failed = tracking_file.read(jobs(sweep)[0], "mlflow")["run_id"]
    assert client.get_run(failed).info.status == "FAILED"


def test_the_run_contains_cases_and_configuration(sweep: Sweep) -> None:
    folder = jobs(sweep)[1]
    held, record = only(folder), run_record.read(folder / "result.json")
    table = held.table("cases")
    column = table["columns"].index("tumour")
    assert {row[1]: row[column] for row in table["data"]} == {
        case: figures["dice"]["tumour"]
        for part in record.final.values()
        for case, figures in part.items()
    }
    assert held.config["data"]["batch_size"] == 4 and held.config["cases"] == record.split
    assert held.config["environment"]["commit"] == record.environment["commit"]
    assert {name.split("-")[0] for name in held.artifacts} == {"model", "result", "run"}


def test_the_sweep_adds_a_run_with_table_1(sweep: Sweep) -> None:
    held = only(sweep[0])
    assert held.run["job_type"] == "table" and held.run["run_group"] == group(sweep)
    table = held.table("table1")
    assert [row[0] for row in table["data"][:2]] == ["unet", "unet"]
    record = run_record.read(jobs(sweep)[1] / "result.json")
    value = table["data"][0][table["columns"].index("Val Tumor mean")]
    assert value == pytest.approx(metrics.case_mean(record.final["validation"], "tumour"))
    files = held.artifacts[f"table1-{held.run['run_id']}"]["manifest"]["contents"]
    assert {"table1.md", "table1.csv", "table1.tex", "report.html"} <= {f["path"] for f in files}
    assert "report" in held.names()
    assert (
        "table1/text_summary"
        in EventAccumulator(str(sweep[0] / "tensorboard")).Reload().Tags()["tensors"]
    )


def test_every_panel_of_the_dashboard_names_logged_values(sweep: Sweep) -> None:
    folder = sweep[0]
    made = dashboard_layout.make_layout(runs.find_jobs([folder]), folder, None, None)
    held = only(jobs(sweep)[1]).names() | only(folder).names()
    view = wandb_dashboard.make_workspace(made)
    for panel in (panel for each in made.sections.values() for panel in each):
        assert {*panel.names} <= held and (panel.x is None or panel.x in held)
    named: set[str] = set()
    for panel in panels(view):
        config: dict[str, Any] = panel["config"]
        axes = [config.get("xAxis"), config.get("yAxis"), *config.get("metrics", [])]
        named |= {axis for axis in axes if axis} | {*config.get("mediaKeys", [])}
        if panel["viewType"] == "Weave":
            named.add(
                json.loads(json.dumps(config))["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"]
            )
    bare = {name.removeprefix("summary_metrics.").removeprefix("summary:") for name in named}
    assert bare <= held and {"cases", "table1", "report", "slices/best", "finetune/val/loss"} <= bare
