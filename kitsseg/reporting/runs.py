"""Find the jobs (runs and evaluations) in result folders and read their states and records."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitsseg.reporting import run_record
from kitsseg.reporting.run_record import RESULT, STATUS, Record

EVALUATION = "evaluation.json"
EVALUATION_VERSION = 1


@dataclass(frozen=True)
class Job:
    """A run or an evaluation in any state.

    Attributes:
        folder: folder of the job.
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
        ValueError: a folder does not exist or contains no job.
    """
    jobs: dict[Path, Job] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"runs={folder}: no such folder")
        found = jobs_below(folder)
        if not found:
            raise ValueError(f"runs={folder}: holds no run; expected {RESULT}, {STATUS} or {EVALUATION}")
        for job in found:
            jobs.setdefault(job.folder.resolve(), job)
    return list(jobs.values())


def jobs_below(folder: Path) -> list[Job]:
    """Return the jobs in and below one folder in the order of their numbers."""
    names = (RESULT, STATUS, EVALUATION)
    found = {path.parent for name in names for path in folder.rglob(name)}
    return [read_job(path) for path in sorted(found, key=run_record.job_order)]


def read_job(folder: Path) -> Job:
    """Return the job stored in ``folder``."""
    status, problem = _read_status(folder / STATUS)
    state, changed = status.get("status"), status.get("changed")
    changed = float(changed) if isinstance(changed, (int, float)) else None
    error = _one_line(status.get("error", ""))
    try:
        if (folder / RESULT).is_file():
            record, reason = run_record.read(folder / RESULT), ""
        elif (folder / EVALUATION).is_file():
            record, reason = read_evaluation(folder / EVALUATION)
        else:
            record, reason = None, ""
    except ValueError as unreadable:
        return Job(folder, "unreadable", _one_line(unreadable), None, changed)
    if state == "failed":
        return Job(folder, "failed", error, record, changed)
    if record is not None:
        return Job(folder, "complete", reason, record, changed)
    if problem:
        return Job(folder, "unreadable", problem, None, None)
    if state == "interrupted":
        return Job(folder, "interrupted", "stopped before the end", None, changed)
    if state == "running":
        return Job(folder, "unfinished", f"still running or killed: no {RESULT} yet", None, changed)
    return Job(folder, "unreadable", f"{STATUS} says {state}, but there is no {RESULT}", None, changed)


def read_evaluation(path: Path) -> tuple[Record, str]:
    """Return ``evaluation.json`` of `kitsseg.evaluate` as a record with validation metrics only.

    Returns:
        The record, and how many cases were not evaluated properly; empty if all were.

    Raises:
        ValueError: the file is not an evaluation or has an unsupported version.
    """
    try:
        values = json.loads(path.read_text())
        version, name, cases = values["version"], str(values["name"]), values["cases"]
        incomplete = {
            "without a prediction": len(values.get("missing", [])),
            "with a problem": len(values.get("problems", {})),
        }
        metrics = {str(case): {**entry, "dice": dict(entry["dice"])} for case, entry in cases.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not an evaluation ({error!r})") from error
    if version != EVALUATION_VERSION:
        raise ValueError(
            f"{path}: evaluation version {version} is not supported (supported: "
            f"{EVALUATION_VERSION}); evaluate again"
        )
    record = Record(
        name=name, model=name, seed=0, overrides=[], before={"train": {}, "validation": metrics},
        after=None, split={"train": [], "validation": sorted(metrics)}, epochs={}, config={},
        environment=values.get("environment", {}), seconds={},
    )  # fmt: skip
    return record, ", ".join(f"{count} {what}" for what, count in incomplete.items() if count)


def _read_status(path: Path) -> tuple[dict[str, Any], str]:
    """Return the content of ``status.json`` and the problem with it, if any."""
    if not path.is_file():
        return {}, ""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return {}, f"{STATUS} is unreadable ({error})"
    return (values, "") if isinstance(values, dict) else ({}, f"{STATUS} is not a JSON object")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
