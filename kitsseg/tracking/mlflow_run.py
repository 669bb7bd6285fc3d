"""MLflow logger of a run."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import MLFlowLogger

from kitsseg.reporting import formats
from kitsseg.reporting.run_record import RESULT, Record
from kitsseg.system import provenance
from kitsseg.system.optional_packages import require
from kitsseg.tracking import run_content, tracking_file

TRACKER = "mlflow"
require("mlflow", TRACKER, "logger=mlflow")  # when the configuration is checked
STATES = {"complete": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MLflowRun(MLFlowLogger):
    """Log to an MLflow run whose id is stored in ``folder``, so that it can be resumed.

    ``tracking_uri`` is a server or database, by default ``MLFLOW_TRACKING_URI`` or ``root/mlflow.db``.
    ``project`` is the name of the MLflow experiment. The names of the folder ``sweep`` and of
    the configuration ``model`` become tags. ``checkpoints`` logs the best checkpoint of each stage.
    """

    def __init__(
        self,
        folder: str,
        root: str,
        project: str = "kitsseg",
        tracking_uri: str | None = None,
        sweep: str | None = None,
        model: str | None = None,
        tags: dict[str, str] | None = None,
        checkpoints: bool = True,
    ) -> None:
        self.folder, self.checkpoints = Path(folder).resolve(), checkpoints
        uri, artifact_location = storage(root, tracking_uri)
        own = {"model": model, "commit": provenance.commit(), "folder": str(self.folder)}
        if sweep is not None and self.folder.is_relative_to(Path(sweep).resolve()):
            own["sweep"] = Path(sweep).name
        super().__init__(
            experiment_name=project,
            run_name=self.folder.name,
            tracking_uri=uri,
            tags={**{k: v for k, v in own.items() if v}, **({} if tags is None else tags)},
            artifact_location=artifact_location,
            run_id=stored_id(self.folder, uri),
        )

    @property
    def experiment(self) -> Any:
        """Return the MLflow client; the run starts on first access."""
        client: Any = self._mlflow_client
        if not self._initialized:
            for name in ("alembic", "mlflow"):
                logging.getLogger(name).setLevel(logging.WARNING)
            project = self._experiment_name
            if self._run_id is None and client.get_experiment_by_name(project) is None:
                with suppress(Exception):  # another job may create it at the same time
                    client.create_experiment(project, artifact_location=self._artifact_location)
            MLFlowLogger.experiment.fget(self)  # type: ignore[attr-defined]
            ids = {"tracking_uri": self._tracking_uri, "run_id": self._run_id, "project": project}
            tracking_file.update(self.folder, TRACKER, **ids)
            client.set_terminated(self._run_id, "RUNNING")
        return client

    def log_run(self, record: Record, folder: Path) -> None:
        """Log the table of cases, the example slices, the record and the checkpoints."""
        client, run_id = self.experiment, self.run_id
        client.log_text(run_id, formats.csv_text(*run_content.case_table(record)), "cases.csv")
        for example in run_content.example_slices(folder, record):
            name = f"slices/{example.role}_{example.number}.png"
            client.log_image(run_id, run_content.overlay(example, record.label_set), artifact_file=name)
        # Not named result.json: a search for runs in the output folder would find the run twice.
        client.log_text(run_id, (folder / RESULT).read_text(encoding="utf-8"), "record.json")
        if self.checkpoints:
            for stage, path in run_content.best_checkpoints(folder).items():
                client.log_artifact(run_id, str(path), f"checkpoints/{stage}")

    def close(self, exit_code: int, reason: str, state: str) -> None:
        """End the run with its state, exit code and reason."""
        client, run_id = self.experiment, self.run_id
        client.set_tag(run_id, "exit_code", str(exit_code))
        if reason:
            client.set_tag(run_id, "error", reason[:1000])
        client.set_terminated(run_id, STATES[state])


def storage(root: str, tracking_uri: str | None) -> tuple[str, str | None]:
    """Return the tracking URI and the location of artifacts (None: chosen by the server)."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") if tracking_uri is None else tracking_uri
    if uri:
        return uri, None
    home = Path(root).resolve()
    home.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{home / 'mlflow.db'}", (home / "mlflow-files").as_uri()


def stored_id(folder: Path, uri: str) -> str | None:
    """Return the id of the MLflow run of ``folder``, if it was logged to this tracking URI."""
    stored = tracking_file.read(folder, TRACKER)
    return stored.get("run_id") if stored.get("tracking_uri") == uri else None


def log_sweep(folder: Path, job_values: dict[str, Any], files: list[Path]) -> None:
    """Log the tables and the report of a sweep as one MLflow run, which a second call updates."""
    from mlflow.tracking import MlflowClient

    uri, project = job_values["tracking_uri"], job_values["project"]
    client, run_id = MlflowClient(uri), stored_id(folder, uri)
    if run_id is None:
        experiment: Any = client.get_experiment_by_name(project)
        tags, name = {"sweep": folder.name, "kind": "table"}, f"{folder.name}: Table 1"
        run_id = client.create_run(experiment.experiment_id, tags=tags, run_name=name).info.run_id
        tracking_file.update(folder, TRACKER, tracking_uri=uri, run_id=run_id, project=project)
    for path in files:
        client.log_artifact(run_id, str(path))
    client.set_terminated(run_id, "FINISHED")
