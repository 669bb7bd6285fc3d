"""The folder of a job: its configuration, status and finished phases."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import filelock

from kitsseg.reporting.configurations import flatten
from kitsseg.reporting.run_record import RESULT, STATUS
from kitsseg.system.files import file_version, fingerprint, write_json

CONFIG, PHASES, LOCK = "config.json", "phases.json", ".lock"
PLAN = "plan.json"  # spacing and patch that a data module chose
CASES = "cases.json"  # the files of each case with size, modification time and SHA-256
CODE = "code.json"  # the same for files that settings name, and for packages of the user's own
# Child processes can hold the lock of a killed process for some seconds.
WAIT_S = 20.0
# Settings that do not affect results; they may differ when a job is resumed.
FREE = ("paths", "logger", "callbacks.progress", "data.workers", "data.prepare_workers", "data.prepared")

Value = TypeVar("Value")


class JobRunningError(ValueError):
    """Raised when another process is running the job."""


def lock_job(folder: Path, wait_s: float = WAIT_S) -> AbstractContextManager[object]:
    """Lock the folder of a job against other processes until the returned context ends.

    Raises:
        JobRunningError: another process still runs the job after ``wait_s`` seconds.
    """
    try:
        return filelock.FileLock(folder / LOCK).acquire(timeout=wait_s)
    except filelock.Timeout as error:
        raise JobRunningError(f"{folder}: another process is running this job") from error


def read_status(folder: Path) -> dict[str, Any]:
    """Return the content of ``status.json``, empty if it cannot be read."""
    try:
        values = json.loads((folder / STATUS).read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def is_complete(folder: Path) -> bool:
    """Whether the job has finished and stored its record."""
    return read_status(folder).get("status") == "complete" and (folder / RESULT).is_file()


def find(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Return the folder of a job of a sweep: ``folder``, or a sibling that holds the same job.

    The folder name of a job changes when a key is added to its sweep.
    """
    if not (folder / CONFIG).is_file():
        for path in sorted(folder.parent.glob(f"*/{CONFIG}")):
            with suppress(ValueError):  # a damaged file is reported by its own job
                if not differences(_read(path), settings, free=("paths", "logger")):
                    return path.parent
    return folder


def changes(folder: Path, settings: Mapping[str, Any]) -> list[str]:
    """Return the differences between the configuration in the folder and ``settings``."""
    path = folder / CONFIG
    return differences(_read(path), settings) if path.is_file() else []


def conflicts(folder: Path, settings: Mapping[str, Any]) -> list[str]:
    """Return the `changes` if the folder holds checkpoints or results of another configuration."""
    occupied = any((folder / name).exists() for name in (RESULT, "checkpoints"))
    return changes(folder, settings) if occupied else []


def is_trial(settings: Mapping[str, Any]) -> bool:
    """Whether the job is a ``fast_dev_run``, which starts from scratch every time."""
    return bool(settings.get("trainer", {}).get("fast_dev_run"))


def own_files(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the versions of the files that the settings name, by key or package.

    These are files such as ``init_from``, and the source files of each package of the user's own.
    Packages in ``site-packages``, of Python itself and kitsseg are not included.
    """
    names = {target.partition(".")[0] for target in _targets(settings)} - sys.stdlib_module_names
    found: dict[str, list[Path]] = {}
    for name in sorted(names - {"kitsseg", "__main__"}):
        spec = find_spec(name)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        files = [path for folder in folders for path in sorted(Path(folder).rglob("*.py"))]
        if spec and not folders and spec.origin:
            files = [Path(spec.origin)]
        if files and not {"site-packages", "dist-packages"} & {*files[0].parts}:
            found[name] = files
    for key, value in flatten(settings).items():
        with suppress(OSError):  # the text is too long for a path
            if isinstance(value, str) and "." in value and Path(value).expanduser().is_file():
                found[key] = [Path(value).expanduser()]
    return {
        name: {str(path): [*file_version(path), fingerprint(path)] for path in files}
        for name, files in found.items()
    }


def _targets(values: Any) -> Iterator[str]:
    """Yield the dotted paths of all components in plain values."""
    if isinstance(values, Mapping):
        if isinstance(target := values.get("_target_"), str):
            yield target
        values = list(values.values())
    if isinstance(values, list):
        for value in values:
            yield from _targets(value)


def changed_inputs(folder: Path) -> str:
    """Return a line about the cases, files and own packages that have changed since the job started.

    It is empty if none has. Missing files do not count, because a finished run does not need its data,
    and neither do copies that differ only in their modification time.
    """
    changed = []
    known = [_read(path) for path in (folder / CASES, folder / CODE) if path.is_file()]
    for case, files in (item for each in known for item in each.items()):
        with suppress(OSError):
            if any(_is_changed(Path(name), version) for name, version in files.items()):
                changed.append(case)
    count = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{changed[0]}{count}: changed since this run was started" if changed else ""


def _is_changed(path: Path, known: list[Any]) -> bool:
    size, mtime_ns, *sha256 = known  # older versions stored no SHA-256
    version = file_version(path)
    return version != [size, mtime_ns] and (version[0] != size or sha256 != [fingerprint(path)])


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Store the configuration in the folder and discard finished phases of any other one.

    Raises:
        ValueError: the folder holds checkpoints or results of another configuration.
    """
    if found := conflicts(folder, settings):
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise ValueError(
            f"{folder} holds a job with {'; '.join(found[:3])}{more}: choose another name=, or remove "
            "that folder to start from scratch"
        )
    if is_trial(settings):
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    if (folder / "checkpoints").exists() and (line := changed_inputs(folder)):
        raise ValueError(
            f"{folder}: {line}: choose another name=, or remove that folder to start from scratch"
        )
    if is_trial(settings) or changes(folder, settings):
        for name in (PHASES, PLAN):
            (folder / name).unlink(missing_ok=True)
    write_json(folder / CONFIG, settings)
    if not (folder / "checkpoints").exists():
        write_json(folder / CODE, own_files(settings))


def differences(old: Mapping[str, Any], new: Mapping[str, Any], free: Sequence[str] = FREE) -> list[str]:
    """Return the differences, such as ``seed=0, not 1``, except in the keys ``free``."""
    before, after = flatten(old), flatten(json.loads(json.dumps(new)))
    allowed = tuple(f"{key}." for key in free)
    return [
        f"{key}={_show(before, key)}, not {_show(after, key)}"
        for key in before | after
        if before.get(key, ...) != after.get(key, ...) and not f"{key}.".startswith(allowed)
    ]


def _read(path: Path) -> dict[str, Any]:
    """Return what an earlier attempt wrote into a file; raise `ValueError` if it is damaged."""
    try:
        values = json.loads(path.read_text())
        if not isinstance(values, dict):
            raise ValueError(f"it is a {type(values).__name__}, not an object")
    except ValueError as error:
        raise ValueError(
            f"{path}: is damaged ({error}); choose another name=, or remove {path.parent} to start from "
            "scratch"
        ) from error
    return values


def _show(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]).strip('"') if key in values else "unset"


class Phases:
    """The finished phases of a job and their results, stored in ``phases.json`` for resuming.

    Set ``write`` on the first rank only.
    """

    def __init__(self, folder: Path, write: bool = True) -> None:
        self.path, self.write = folder / PHASES, write
        self.done = _read(self.path) if self.path.is_file() else {}

    def __call__(self, name: str, work: Callable[[], Value], always: bool = False) -> Value:
        """Return the result of ``work`` (plain values), or the stored one if the phase has finished.

        With ``always``, ``work`` is called in every attempt, and the last duration is stored.
        """
        if name not in self.done or always:
            start = time.monotonic()
            value = work()
            self.done[name] = {"value": value, "seconds": round(time.monotonic() - start, 2)}
            if self.write:
                write_json(self.path, self.done)
        result: Value = self.done[name]["value"]
        return result

    @property
    def seconds(self) -> dict[str, float]:
        """Duration of each phase in seconds."""
        return {name: phase["seconds"] for name, phase in self.done.items()}
