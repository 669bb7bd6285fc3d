"""At a sweep's end: its Table 1 and its page, for the trackers that its jobs used."""

import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kitsseg.reporting.runs import Job
from kitsseg.tracking import run_ids, wandb_parts, wandb_start

log = logging.getLogger("kitsseg")


def log_sweep(jobs: Sequence[Job], folder: Path, files: list[Path]) -> None:
    """Hand a sweep's tables and page to its trackers. Whatever goes wrong is a warning.

    Args:
        jobs: of the sweep; a lone run, which is its own folder, has nothing to add.
        folder: of the sweep.
        files: what was written into it.
    """
    below = [job.folder for job in jobs if job.folder.resolve() != folder.resolve()]
    if not below:
        return
    for tracker in (wandb_start.TRACKER, "tensorboard", "mlflow"):
        known = [values for job in below if (values := run_ids.read(job, tracker))]
        if not known:
            continue
        try:
            if tracker == "wandb":
                _wandb(folder, known[-1], files)
            elif tracker == "tensorboard":
                from kitsseg.tracking import tensorboard_run

                tensorboard_run.log_sweep(folder, files)
            else:
                from kitsseg.tracking import mlflow_run

                mlflow_run.log_sweep(folder, known[-1], files)
        except Exception as error:  # a tracker's, of whatever kind
            text = " ".join(str(error).split())[:300]
            log.warning(f"{tracker}: {type(error).__name__}: {text}; it lacks the sweep's table")


def _wandb(folder: Path, known: dict[str, Any], files: list[Path]) -> None:
    """A run in the jobs' group with Table 1 as a table, the page, and all files as an artifact."""
    import wandb

    place = {name: known.get(name) for name in ("project", "entity", "group")}
    name, offline = f"{folder.name}: Table 1", bool(known.get("offline", True))
    settings = {} if known.get("server") is None else {"base_url": known["server"]}
    run = wandb_start.start(folder, offline, settings, **place, name=name, job_type="table")
    try:
        step = max(run_ids.read(folder, wandb_start.TRACKER).get("step", -1), run.step - 1) + 1
        run_ids.keep(folder, wandb_start.TRACKER, step=step)
        shown: dict[str, Any] = {}
        artifact = wandb.Artifact(f"table1-{run.id}", "result")
        for path in files:
            artifact.add_file(str(path.resolve()), path.name, policy="immutable", skip_cache=True)
            if path.name == "table1.csv":
                head, rows = typed(path.read_text(encoding="utf-8"))
                shown["table1"] = wandb.Table(columns=head, data=rows)
            elif path.suffix == ".html":
                shown[path.stem] = wandb.Html(str(path), inject=False)
        run.log(shown, step=step)
        run.log_artifact(artifact)
    finally:
        wandb_parts.finish(run, folder)


def typed(text: str) -> tuple[list[Any], list[list[Any]]]:
    """A CSV's columns and rows; numbers are numbers, and an empty cell is None."""
    head, *rows = csv.reader(io.StringIO(text))
    return head, [[_value(cell) for cell in row] for row in rows]


def _value(cell: str) -> Any:
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell
