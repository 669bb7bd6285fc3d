"""A job's folder: whose it is, how far the job has come, and whether the same command goes on in it."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import filelock

from kitsseg.reporting.run_record import RESULT, STATUS
from kitsseg.system.files import write_json

CONFIG, PHASES, LOCK = "config.json", "phases.json", ".lock"
# A killed process's helpers may hold its lock for some seconds more.
WAIT_S = 20.0
# What changes no figure: a job goes on with other values of these.
FREE = ("paths", "logger", "callbacks.progress", "data.workers", "data.prepare_workers", "data.prepared")

Value = TypeVar("Value")


@contextmanager
def held(folder: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """The folder, against every other process that would run this job.

    Raises:
        ValueError: one does.
    """
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=wait_s)
    except filelock.Timeout as error:
        raise ValueError(f"{folder}: another process is at this job") from error
    try:
        yield
    finally:
        lock.release()


def status(folder: Path) -> dict[str, Any]:
    """What ``status.json`` says; empty if there is none that can be read."""
    try:
        values = json.loads((folder / STATUS).read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def is_complete(folder: Path) -> bool:
    """Whether the job has come to its end and its record lies there."""
    return status(folder).get("status") == "complete" and (folder / RESULT).is_file()


def changed(folder: Path, settings: Mapping[str, Any]) -> list[str]:
    """What the folder's configuration and this one differ in."""
    path = folder / CONFIG
    return differences(json.loads(path.read_text()), settings) if path.is_file() else []


def taken(folder: Path, settings: Mapping[str, Any]) -> list[str]:
    """The same, if what another configuration left is worth keeping."""
    worth = any((folder / name).exists() for name in (RESULT, "checkpoints"))
    return changed(folder, settings) if worth else []


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder this configuration's, or find that it is.

    What a configuration left that got nowhere is taken away for another.

    Raises:
        ValueError: another one's checkpoints or figures lie there.
    """
    if found := taken(folder, settings):
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise ValueError(
            f"{folder} holds a job with {'; '.join(found[:3])}{more}: give this one another name=, "
            "or remove that folder to begin anew"
        )
    if changed(folder, settings):
        (folder / PHASES).unlink(missing_ok=True)
    write_json(folder / CONFIG, settings)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What two configurations differ in, as far as it can change figures: ``seed=0, not 1``."""
    before, after = _flat(old), _flat(json.loads(json.dumps(new)))
    keys = [*before, *(key for key in after if key not in before)]
    return [
        f"{key}={_shown(before, key)}, not {_shown(after, key)}"
        for key in keys
        if before.get(key, ...) != after.get(key, ...) and not f"{key}.".startswith(_FREE)
    ]


_FREE = tuple(f"{key}." for key in FREE)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            out |= _flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value
    return out


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]).strip('"') if key in values else "unset"


class Phases:
    """What a job has brought to an end, kept in ``phases.json``: a job that goes on takes it from there.

    Args:
        folder: the job's.
        write: whether this process keeps the file; of several that run one job, one does.
    """

    def __init__(self, folder: Path, write: bool = True) -> None:
        self.path, self.write = folder / PHASES, write
        self.done: dict[str, Any] = {}
        if self.path.is_file():
            self.done = json.loads(self.path.read_text())

    def __call__(self, name: str, work: Callable[[], Value], always: bool = False) -> Value:
        """What ``work`` returns (plain values), or returned when it came to its end once.

        Args:
            always: do the work in every attempt, and keep the time of the last.
        """
        if name not in self.done or always:
            start = time.monotonic()
            value = work()
            self.done[name] = {"value": value, "seconds": round(time.monotonic() - start, 2)}
            if self.write:
                write_json(self.path, self.done)
        kept: Value = self.done[name]["value"]
        return kept

    @property
    def seconds(self) -> dict[str, float]:
        """How long each phase took, in the process that finished it."""
        return {name: phase["seconds"] for name, phase in self.done.items()}
