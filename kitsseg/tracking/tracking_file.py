"""Read and update ``tracking.json``, which stores the tracker ids of a run so that it can be resumed."""

import json
from pathlib import Path
from typing import Any

from kitsseg.system.files import write_json

NAME = "tracking.json"


def read(folder: Path, tracker: str) -> dict[str, Any]:
    """Return the values of one tracker; empty if there are none or the file is damaged."""
    return _read_all(folder).get(tracker, {})


def update(folder: Path, tracker: str, /, **values: Any) -> None:
    """Set JSON values of one tracker and keep its others."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / NAME, {**_read_all(folder), tracker: {**read(folder, tracker), **values}})


def _read_all(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        return {
            str(name): dict(values) for name, values in json.loads((folder / NAME).read_text()).items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
