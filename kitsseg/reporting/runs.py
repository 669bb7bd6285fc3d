"""Find the jobs (runs and evaluations) in result folders and read their states and records."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitsseg.data.labels import KITS19, Labels
from kitsseg.evaluation import record as evaluation
from kitsseg.reporting import run_record
from kitsseg.reporting.run_record import RESULT, STATUS, Record
from kitsseg.system.files import files_below

EVALUATION = evaluation.JSON


@dataclass(frozen=True)
class Job:
    """A run or an evaluation in any state.

    Attributes:
        state: ``complete``, ``failed``, ``interrupted``, ``unfinished`` (running or killed) or
            ``unreadable``.
        reason: what is missing and why, in one line; empty if nothing is missing.
        record: results; None if there are none. A job that failed after its evaluation has a record.
        changed: time of the last change of state in seconds since 1970; None if unknown.
    """

    folder: Path
    state: str
    reason: str
    record: Record | None
    changed: float | None


def find_jobs(folders: Sequence[Path]) -> list[Job]:
    """Return all jobs in and below ``folders`` without duplicates, by folder and job number.

    Raises:
        ValueError: a folder contains no job.
    """
    jobs: dict[Path, Job] = {}
    for folder in folders:
        if not (found := jobs_below(folder)):
            raise ValueError(f"runs={folder}: holds no run; expected {RESULT}, {STATUS} or {EVALUATION}")
        for job in found:
            jobs.setdefault(job.folder.resolve(), job)
    return list(jobs.values())


def jobs_below(folder: Path) -> list[Job]:
    """Return the jobs in and below one folder in the order of their numbers."""
    names = {RESULT, STATUS, EVALUATION}
    found = {path.parent for path in files_below(folder) if path.name in names}
    return [read_job(path) for path in sorted(found, key=run_record.job_order)]


def read_job(folder: Path) -> Job:
    """Return the job stored in ``folder``."""
    status: dict[str, Any] = {}
    record, reason = None, ""
    try:
        if (folder / STATUS).is_file():
            status = dict(json.loads((folder / STATUS).read_text()))
    except (OSError, ValueError, TypeError) as error:
        status = {"status": "unreadable", "error": f"{STATUS} is unreadable ({error})"}
    state = status.get("status")
    try:
        if (folder / RESULT).is_file():
            record = run_record.read(folder / RESULT)
        elif (folder / EVALUATION).is_file():
            record, reason = read_evaluation(folder / EVALUATION)
    except ValueError as error:
        state, reason = "unreadable", str(error)
    else:
        if state == "failed" or (state == "unreadable" and record is None):
            reason = str(status.get("error", ""))
        elif record is not None:
            state = "complete"
        elif state == "interrupted":
            reason = "stopped before the end"
        elif state == "running":
            state, reason = "unfinished", f"still running or killed: no {RESULT} yet"
        else:
            state, reason = "unreadable", f"{STATUS} says {state}, but there is no {RESULT}"
    return Job(folder, state, " ".join(reason.split()), record, status.get("changed"))


def read_evaluation(path: Path) -> tuple[Record, str]:
    """Return ``evaluation.json`` as a record with validation metrics, and what is missing in it.

    Raises:
        ValueError: the file is not an evaluation or has an unsupported version.
    """
    try:
        values = json.loads(path.read_text())
        version, name = values["version"], str(values["name"])
        metrics = {case: {**e, "dice": _defined_dice(e)} for case, e in values["cases"].items()}
        missing = set(values.get("missing", []))
        problems = len(set(values.get("problems", {})) - missing)
        labels = Labels(**values.get("settings", {}).get("labels", KITS19.as_dict()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not an evaluation ({error!r})") from error
    if version not in (1, evaluation.VERSION):  # version 1 has another summary
        known = f"1 and {evaluation.VERSION}"
        raise ValueError(
            f"{path}: evaluation version {version} is not supported (supported: {known}); evaluate again"
        )
    record = Record(
        name=name, model=name, seed=0, overrides=[], before={"train": {}, "validation": metrics},
        after=None, split={"train": [], "validation": sorted(metrics)}, epochs={}, config={},
        environment=values.get("environment", {}), seconds={}, labels=labels.as_dict(),
        hashes=values.get("hashes", {}), checkpoints=values.get("checkpoints", {}),
    )  # fmt: skip
    run_record.check(record, str(path), "evaluate again")
    incomplete = {"without a prediction": len(missing), "with a problem": problems}
    return record, ", ".join(f"{count} {what}" for what, count in incomplete.items() if count)


def _defined_dice(entry: dict[str, Any]) -> dict[str, float | None]:
    """Return the Dice of a case; None where a region is absent from both volumes (``absent_dice``)."""
    voxels = entry.get("voxels", {})
    return {r: dice if any(voxels.get(r, [1])) else None for r, dice in entry["dice"].items()}
