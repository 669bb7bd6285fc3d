"""Log Table 1 and the report to the trackers of a sweep's jobs when the sweep ends."""

import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kitsseg.reporting.runs import Job
from kitsseg.tracking import tracking_file

log = logging.getLogger("kitsseg")


def log_sweep(jobs: Sequence[Job], folder: Path, files: list[Path]) -> None:
    """Log the tables and the report of a sweep; errors of a tracker become warnings.

    Args:
        jobs: jobs of the sweep. Nothing is logged for a single run.
        folder: folder of the sweep.
        files: tables and report in that folder.
    """
    job_folders = [job.folder for job in jobs if job.folder.resolve() != folder.resolve()]
    for tracker in ("wandb", "tensorboard", "mlflow"):
        stored = [ids for path in job_folders if (ids := tracking_file.read(path, tracker))]
        if not stored:
            continue
        try:
            if tracker == "wandb":
                _log_to_wandb(folder, stored[-1], files)
            elif tracker == "tensorboard":
                from kitsseg.tracking import tensorboard_run

                tensorboard_run.log_sweep(folder, files)
            else:
                from kitsseg.tracking import mlflow_run

                mlflow_run.log_sweep(folder, stored[-1], files)
        except Exception as error:  # trackers raise errors of any class
            text = " ".join(str(error).split())[:300]
            log.warning(f"{tracker}: {type(error).__name__}: {text}; Table 1 was not logged")


def _log_to_wandb(folder: Path, job_ids: dict[str, Any], files: list[Path]) -> None:
    """Log the table, the report and all files as one more W&B run in the group of the jobs."""
    import wandb

    from kitsseg.tracking import wandb_run

    place = {name: job_ids.get(name) for name in ("project", "entity", "group")}
    name, offline = f"{folder.name}: Table 1", bool(job_ids.get("offline", True))
    settings = {} if job_ids.get("server") is None else {"base_url": job_ids["server"]}
    run = wandb_run.start(folder, offline, settings, **place, name=name, job_type="table")
    try:
        values: dict[str, Any] = {}
        artifact = wandb.Artifact(f"table1-{run.id}", "result")
        for path in files:
            artifact.add_file(str(path.resolve()), path.name, policy="immutable", skip_cache=True)
            if path.name == "table1.csv":
                head, rows = _read_csv(path.read_text(encoding="utf-8"))
                values["table1"] = wandb.Table(columns=[*head], data=rows)
            elif path.suffix == ".html":
                values[path.stem] = wandb.Html(str(path), inject=False)
        wandb_run.log_row(run, folder, values)
        run.log_artifact(artifact)
    finally:
        wandb_run.finish(run, folder)


def _read_csv(text: str) -> tuple[list[str], list[list[Any]]]:
    """Return column names and rows; numbers are floats and empty cells are None."""
    head, *rows = csv.reader(io.StringIO(text))
    return head, [[_parse_cell(cell) for cell in row] for row in rows]


def _parse_cell(cell: str) -> float | str | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell
