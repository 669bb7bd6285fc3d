"""What a tracker needs to go on with a run, kept in ``tracking.json`` of the run's folder."""

import json
from pathlib import Path
from typing import Any

from kitsseg.system.files import write_json

NAME = "tracking.json"


def read(folder: Path, tracker: str) -> dict[str, Any]:
    """What ``tracker`` kept of the run in ``folder``; empty if it kept nothing that can be read."""
    values = _all(folder).get(tracker, {})
    return values if isinstance(values, dict) else {}


def keep(folder: Path, tracker: str, /, **values: Any) -> None:
    """Add plain values to what ``tracker`` keeps."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / NAME, {**_all(folder), tracker: {**read(folder, tracker), **values}})


def _all(folder: Path) -> dict[str, Any]:
    try:
        values = json.loads((folder / NAME).read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
