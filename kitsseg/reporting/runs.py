"""What lies in folders of runs and sweeps: finished runs, and those that failed or aren't done."""

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
    """A run or an evaluation, whatever became of it.

    Attributes:
        folder: its own.
        state: ``complete``, ``failed``, ``interrupted``, ``unfinished`` (it runs, or was killed) or
            ``unreadable``.
        reason: what is missing and why, in one line; empty if nothing is.
        record: what it found; one that failed has it if it failed afterwards.
        changed: when its state changed last, in seconds since 1970; None if that isn't known.
    """

    folder: Path
    state: str
    reason: str
    record: Record | None
    changed: float | None


def find(folders: Sequence[Path]) -> list[Job]:
    """All jobs in and below ``folders``, each once, in the order of the folders and of their numbers.

    Raises:
        ValueError: a folder doesn't exist or holds no run.
    """
    jobs: dict[Path, Job] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"runs={folder}: there's no such folder")
        found = below(folder)
        if not found:
            raise ValueError(
                f"runs={folder} holds no run: no {RESULT}, {STATUS} or {EVALUATION} lies in or below it"
            )
        for each in found:
            jobs.setdefault(each.folder.resolve(), each)
    return list(jobs.values())


def below(folder: Path) -> list[Job]:
    """The jobs in and below one folder, in the order of their numbers."""
    names = (RESULT, STATUS, EVALUATION)
    found = {path.parent for name in names for path in folder.rglob(name)}
    return [read(each) for each in sorted(found, key=run_record.order)]


def read(folder: Path) -> Job:
    """The job whose files lie in ``folder``."""
    status, problem = _status(folder / STATUS)
    changed = status.get("changed")
    changed = float(changed) if isinstance(changed, (int, float)) else None
    for name, reader in ((RESULT, _read_run), (EVALUATION, read_evaluation)):
        if (folder / name).is_file():
            try:
                record, reason = reader(folder / name)
            except ValueError as error:
                return Job(folder, "unreadable", _one_line(error), None, changed)
            if status.get("status") == "failed":
                return Job(folder, "failed", _one_line(status.get("error", "")), record, changed)
            return Job(folder, "complete", reason, record, changed)
    if problem:
        return Job(folder, "unreadable", problem, None, None)
    state = status.get("status")
    if state == "failed":
        return Job(folder, "failed", _one_line(status.get("error", "")), None, changed)
    if state == "interrupted":
        return Job(folder, "interrupted", "stopped before its end", None, changed)
    if state == "running":
        return Job(
            folder, "unfinished", f"it is running, or was killed: there's no {RESULT} yet", None, changed
        )
    return Job(folder, "unreadable", f"its {STATUS} says {state}, but it has no {RESULT}", None, changed)


def _read_run(path: Path) -> tuple[Record, str]:
    return run_record.read(path), ""


def read_evaluation(path: Path) -> tuple[Record, str]:
    """``evaluation.json`` of `kitsseg.evaluate` as a record with validation figures alone.

    Returns:
        The record, and what the evaluation lacks, in words.

    Raises:
        ValueError: it isn't one, or one of another version.
    """
    try:
        values = json.loads(path.read_text())
        version, name, cases = values["version"], str(values["name"]), values["cases"]
        lacks = {"without a prediction": len(values.get("missing", []))}
        lacks["with a problem"] = len(values.get("problems", {}))
        figures = {str(case): {**each, "dice": dict(each["dice"])} for case, each in cases.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: is not an evaluation ({error!r})") from error
    if version != EVALUATION_VERSION:
        raise ValueError(
            f"{path}: is an evaluation of version {version}; this kitsseg reads {EVALUATION_VERSION}: "
            "evaluate again"
        )
    record = Record(
        name=name, model=name, seed=0, overrides=[], before={"train": {}, "validation": figures},
        after=None, split={"train": [], "validation": sorted(figures)}, epochs={}, config={},
        environment=values.get("environment", {}), seconds={},
    )  # fmt: skip
    return record, ", ".join(f"{count} {what}" for what, count in lacks.items() if count)


def _status(path: Path) -> tuple[dict[str, Any], str]:
    """What ``status.json`` says, or the problem with it."""
    if not path.is_file():
        return {}, ""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return {}, f"its {STATUS} can't be read ({error})"
    return (values, "") if isinstance(values, dict) else ({}, f"its {STATUS} isn't a status")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
