"""MLflow: the same curves, figures, cases, slices and weights, in a database or on a server."""

import csv
import io
import logging
import os
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import MLFlowLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from kitsseg.reporting.run_record import RESULT, Record
from kitsseg.system import provenance
from kitsseg.tracking import logged_content, run_ids

TRACKER = "mlflow"
STATES = {"complete": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MLflowRun(MLFlowLogger):
    """Lightning's logger, which goes on with the run that its folder names.

    Args:
        folder: of the run.
        root: where the database and the files lie if no server is given.
        project: MLflow's experiment.
        tracking_uri: of a server or a database; else ``MLFLOW_TRACKING_URI``, or ``root/mlflow.db``.
        sweep: the sweep's folder, kept as a tag.
        model: the chosen model configuration, kept as a tag.
        tags: more of them.
        checkpoints: whether the best weights of each stage go along.
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
        self.folder, self.checkpoints = Path(folder), checkpoints
        uri, files = place(root, tracking_uri)
        known = run_ids.read(self.folder, TRACKER)
        own = {"model": model, "commit": provenance.commit(), "folder": str(self.folder.resolve())}
        if sweep is not None and self.folder.resolve().is_relative_to(Path(sweep).resolve()):
            own["sweep"] = Path(sweep).name
        super().__init__(
            experiment_name=project,
            run_name=self.folder.name,
            tracking_uri=uri,
            tags={**{k: v for k, v in own.items() if v}, **({} if tags is None else tags)},
            artifact_location=files,
            run_id=known.get("run_id") if known.get("tracking_uri") == uri else None,
        )

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The client; the run is begun when it is first asked for."""
        if not self._initialized:
            logging.getLogger("alembic").setLevel(logging.WARNING)
            logging.getLogger("mlflow").setLevel(logging.WARNING)
            if self._run_id is None:
                ready(self._mlflow_client, self._experiment_name, self._artifact_location)
            client = MLFlowLogger.experiment.fget(self)  # type: ignore[attr-defined]
            place = {"tracking_uri": self._tracking_uri, "run_id": self._run_id}
            run_ids.keep(self.folder, TRACKER, **place, project=self._experiment_name)
            client.set_terminated(self._run_id, "RUNNING")
        return self._mlflow_client

    def finalize(self, status: str = "success") -> None:
        """Nothing: `close` knows what became of the run."""

    @rank_zero_only
    def log_run(self, record: Record, folder: Path) -> None:
        """The table of its cases, slices tinted with truth and prediction, its weights and record."""
        client, run = self.experiment, self.run_id
        client.log_text(run, comma_separated(*logged_content.cases(record)), "cases.csv")
        numbers: dict[str, int] = {}
        for picture in logged_content.pictures(folder, record.final["validation"]):
            number = numbers[picture.role] = numbers.get(picture.role, -1) + 1
            name = f"slices/{picture.role}_{number}.png"
            client.log_image(run, logged_content.side_by_side(picture), artifact_file=name)
        # Under another name: whoever looks for runs below a folder must not find this one twice.
        client.log_text(run, (folder / RESULT).read_text(encoding="utf-8"), "record.json")
        if self.checkpoints:
            for stage, path in logged_content.best_checkpoints(folder).items():
                client.log_artifact(run, str(path), f"checkpoints/{stage}")

    @rank_zero_only
    def close(self, exit_code: int, reason: str, state: str) -> None:
        """End the run, and say how it ended."""
        client, run = self.experiment, self.run_id
        client.set_tag(run, "exit_code", str(exit_code))
        if reason:
            client.set_tag(run, "error", reason[:1000])
        client.set_terminated(run, STATES[state])


def place(root: str, tracking_uri: str | None) -> tuple[str, str | None]:
    """Where runs are kept, and where their files lie: the server's own choice if there is one."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") if tracking_uri is None else tracking_uri
    if uri:
        return uri, None
    home = Path(root).resolve()
    home.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{home / 'mlflow.db'}", (home / "mlflow-files").as_uri()


def ready(client: Any, project: str, files: str | None) -> None:
    """Make the experiment if it isn't there; another job may be doing so at the same time."""
    if client.get_experiment_by_name(project) is None:
        try:
            client.create_experiment(project, artifact_location=files)
        except Exception:
            if client.get_experiment_by_name(project) is None:
                raise


def comma_separated(head: list[str], rows: list[list[Any]]) -> str:
    """A table in which a figure that doesn't exist is empty."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *rows])
    return out.getvalue()


def log_sweep(folder: Path, known: dict[str, Any], files: list[Path]) -> None:
    """A run of its own with the sweep's tables and page, the same again for the same folder."""
    from mlflow.tracking import MlflowClient

    uri, client = known["tracking_uri"], MlflowClient(known["tracking_uri"])
    before = run_ids.read(folder, TRACKER)
    run = before.get("run_id") if before.get("tracking_uri") == uri else None
    if run is None:
        experiment: Any = client.get_experiment_by_name(known["project"])
        tags = {"sweep": folder.name, "kind": "table"}
        name = f"{folder.name}: Table 1"
        run = client.create_run(experiment.experiment_id, tags=tags, run_name=name).info.run_id
        run_ids.keep(folder, TRACKER, tracking_uri=uri, run_id=run, project=known["project"])
    for path in files:
        client.log_artifact(run, str(path))
    client.set_terminated(run, "FINISHED")
