"""Compare the configurations of runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kitsseg.reporting.table_rows import Row, without_module

# Keys that do not influence the scores or that differ between the runs of one row, and such sections.
IGNORED_KEYS, IGNORED_SECTIONS = ("seed", "split.fold"), ("paths.", "logger.")
# The same for the runs of one row, which can come from several commands.
FREE_KEYS = ("name", "data.workers", "data.prepare_workers", "data.prepared")
MAX_KEYS = 3


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def as_texts(config: Mapping[str, Any]) -> dict[str, str]:
    """Return values as text by dotted key; class paths of kitsseg lose their module."""
    flat = flatten(config).items()
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in flat}
    return {n: without_module(t) if n.split(".")[-1] == "_target_" else t for n, t in texts.items()}


def differing(flat: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the keys whose values are not equal in all configurations."""
    return [
        name
        for name in dict.fromkeys(name for values in flat for name in values)
        if len({values.get(name) for values in flat}) > 1
        and name not in IGNORED_KEYS
        and not name.startswith(IGNORED_SECTIONS)
    ]


def mixed(rows: Sequence[Row]) -> str:
    """Return a sentence for each row whose runs differ in more than the seed and the fold.

    They have the same overrides, but for example an experiment file that was edited between them. Keys
    that another version of kitsseg lacks are not compared.
    """
    text = ""
    for row in rows:
        flat = [as_texts(run.config) for run in row.runs]
        known = set.intersection(*map(set, flat)) - {*FREE_KEYS}
        names = [name for name in differing(flat) if name in known]
        parts = [
            f"{name} ({', '.join(dict.fromkeys(values[name] for values in flat))})"
            for name in names[:MAX_KEYS]
        ]
        parts += [f"{len(names) - MAX_KEYS} more keys"] if len(names) > MAX_KEYS else []
        text += f"The runs of {row.label} also differ in {', '.join(parts)}. " if parts else ""
    return text
