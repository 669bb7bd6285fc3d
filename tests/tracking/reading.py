"""Read offline W&B runs from their ``.wandb`` files with W&B's own reader."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Offline:
    """The part of a run that one process wrote."""

    run: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    files: Path = Path()

    def curve(self, name: str) -> list[Any]:
        return [row[name] for row in self.history if name in row]

    def names(self) -> set[str]:
        """Return the names of all logged values, images and tables."""
        found = {name for row in self.history for name in row}
        return {name.split("._type")[0] for name in found}

    def table(self, name: str) -> dict[str, Any]:
        return json.loads((self.files / self.summary[f"{name}.path"]).read_text())


def fragments(folder: Path) -> list[Offline]:
    """Return the parts in ``folder/wandb``, oldest first."""
    paths = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime)
    return [_read(path) for path in paths]


def only(folder: Path) -> Offline:
    (one,) = fragments(folder)
    return one


def _read(path: Path) -> Offline:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = Offline(files=path.parent / "files")
    for record in map(json.loads, out.splitlines()):
        kind = record["type"]
        value = record.get(kind, {})
        if kind == "run":
            found.run = value
        elif kind in ("config", "summary"):
            getattr(found, kind).update(value.get("update", {}))
        elif kind == "history":
            found.history.append(value["item"])
        elif kind == "artifact":
            found.artifacts[value["name"]] = value
        elif kind == "metric" and "step_metric" in value:
            found.axes[value.get("glob_name", value.get("name"))] = value["step_metric"]
        elif kind == "exit":
            found.exit_code = value.get("exit_code", 0)
    return found
