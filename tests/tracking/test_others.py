"""TensorBoard and MLflow runs, read back, and the check of optional packages."""

import csv
import io
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kitsseg.reporting import runs
from kitsseg.tracking import mlflow_run, safe_logger, tensorboard_run, tracking_file
from kitsseg.tracking.mlflow_run import MLflowRun
from kitsseg.tracking.safe_logger import open_loggers
from kitsseg.tracking.tensorboard_run import TensorBoardRun
from tests.helpers.commands import find_problems
from tests.reporting.html.made import record, write_run


def finished(tmp_path: Path) -> tuple[Any, Path]:
    run = record("unet", [0.1, 0.5, 0.9], [0.2, None, 0.9])
    folder = write_run(tmp_path / "sweep" / "0_model=unet", run)
    for stage in ("train", "finetune"):
        (folder / "checkpoints" / stage).mkdir(parents=True)
        (folder / "checkpoints" / stage / "best.ckpt").write_bytes(b"weights")
    return run, folder


def both_stages(logger: Any) -> None:
    for prefix in ("", "finetune/"):
        for epoch in range(2):
            logger.log_metrics({f"{prefix}val/loss": 1 - 0.1 * epoch, "epoch": epoch}, 3 * epoch)


# ---- TensorBoard


def test_a_tensorboard_run(tmp_path: Path) -> None:
    run, folder = finished(tmp_path)
    with open_loggers([partial(TensorBoardRun, str(folder))]) as loggers:
        loggers[0].log_hyperparams({"seed": 0, "model": {"width": 8}})
        both_stages(loggers[0])
        safe_logger.log_run(loggers, run, folder)
        assert not loggers[0].warned
    held = EventAccumulator(str(folder / "tensorboard"), {"images": 0, "tensors": 0}).Reload()
    for name in ("val/loss", "finetune/val/loss"):
        assert [(e.step, round(e.value, 6)) for e in held.Scalars(name)] == [(0, 1.0), (3, 0.9)]
    assert held.Scalars("final/val_tumor")[0].value == pytest.approx(0.55)
    assert held.Scalars("before/val_tumor")[0].value == pytest.approx(0.5)
    (cases,) = held.Tensors("cases/text_summary")
    text = cases.tensor_proto.string_val[0].decode()
    assert "| validation | case_00010 | 0.950" in text and "| case_00011 | 0.950  | –" in text
    images = held.Images("slices/worst")
    assert [image.step for image in images] == list(range(len(images))) and len(images) >= 3
    assert (images[0].width, images[0].height) == (3 * 64, 48)
    (outcome,) = held.Tensors("outcome/text_summary")
    assert outcome.tensor_proto.string_val[0] == b"complete (0)"


def test_the_table_of_a_sweep_in_tensorboard(tmp_path: Path) -> None:
    (tmp_path / "table1.md").write_text("| a |")
    (tmp_path / "report.html").write_text("<p>")
    tensorboard_run.log_sweep(tmp_path, {}, [tmp_path / "table1.md", tmp_path / "report.html"])
    held = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert held.Tags()["tensors"] == ["table1/text_summary"]


# ---- MLflow


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return MlflowClient(f"sqlite:///{tmp_path / 'outputs' / 'mlflow.db'}")


def test_an_mlflow_run_is_resumed(tmp_path: Path, client: Any) -> None:
    run, folder = finished(tmp_path)
    make = partial(
        MLflowRun, str(folder), str(tmp_path / "outputs"), sweep=str(tmp_path / "sweep"), model="unet"
    )
    with pytest.raises(ValueError), open_loggers([make]) as loggers:
        loggers[0].log_hyperparams({"seed": 0, "model": {"width": 8}})
        raise ValueError("no luck")
    (experiment,) = client.search_experiments(filter_string="name = 'kitsseg'")
    (held,) = client.search_runs([experiment.experiment_id])
    assert held.info.status == "FAILED" and held.data.tags["error"] == "ValueError: no luck"

    with open_loggers([make]) as loggers:
        loggers[0].log_hyperparams({"seed": 0, "model": {"width": 8}})
        both_stages(loggers[0])
        loggers[0].finalize("success")
        assert client.get_run(held.info.run_id).info.status == "RUNNING"
        safe_logger.log_run(loggers, run, folder)
        assert not loggers[0].warned
    (held,) = client.search_runs([experiment.experiment_id])
    number = held.info.run_id
    assert held.info.status == "FINISHED" and held.data.tags["exit_code"] == "0"
    assert held.info.run_name == "0_model=unet"
    assert (held.data.tags["model"], held.data.tags["sweep"]) == ("unet", "sweep")
    assert held.data.params["model/width"] == "8" and held.data.tags["commit"]
    for name in ("val/loss", "finetune/val/loss"):
        found = client.get_metric_history(number, name)
        assert [(m.step, m.value) for m in found] == [(0, 1.0), (3, 0.9)]
    assert held.data.metrics["final/val_tumor"] == pytest.approx(0.55)
    home = tmp_path / "outputs" / "mlflow-files" / number / "artifacts"
    rows = list(csv.DictReader(io.StringIO((home / "cases.csv").read_text())))
    by_case = {row["case"]: row for row in rows}
    assert by_case["case_00010"]["tumour"] == "0.2" and by_case["case_00011"]["tumour"] == ""
    assert (home / "checkpoints" / "finetune" / "best.ckpt").read_bytes() == b"weights"
    assert (home / "record.json").read_text() == (folder / "result.json").read_text()
    assert not runs.jobs_below(tmp_path / "outputs")
    assert Image.open(home / "slices" / "worst_0.png").size == (3 * 64, 48)


def test_a_sweep_adds_one_mlflow_run(tmp_path: Path, client: Any) -> None:
    _, folder = finished(tmp_path)
    with open_loggers([partial(MLflowRun, str(folder), str(tmp_path / "outputs"))]) as loggers:
        both_stages(loggers[0])
    page = tmp_path / "sweep" / "report.html"
    page.write_text("<p>")
    for _ in range(2):
        mlflow_run.log_sweep(tmp_path / "sweep", tracking_file.read(folder, "mlflow"), [page])
    held = client.search_runs([client.get_experiment_by_name("kitsseg").experiment_id])
    (table,) = [run for run in held if run.data.tags.get("kind") == "table"]
    assert len(held) == 2 and table.info.run_name == "sweep: Table 1"
    assert [f.path for f in client.list_artifacts(table.info.run_id)] == ["report.html"]


def test_storage_on_a_server_or_in_a_local_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    assert mlflow_run.storage("x", None) == ("http://there", None)
    assert mlflow_run.storage("x", "http://here") == ("http://here", None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    uri, files = mlflow_run.storage(str(tmp_path / "out"), None)
    assert (
        uri == f"sqlite:///{tmp_path}/out/mlflow.db" and files == f"file://{tmp_path}/out/mlflow-files"
    )


# ---- packages


@pytest.mark.parametrize("name", ["mlflow", "tensorboard"])
def test_a_missing_package_is_named_before_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, f"kitsseg.tracking.{name}_run")
    monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    (problem,) = find_problems("train", ["data=phantom", f"logger={name}"])
    assert problem.startswith(f"logger.{name}._target_: ")
    remedy = f"logger={name} needs {name}, which is not installed: pip install 'kitsseg[{name}]'"
    assert problem.endswith(remedy)
