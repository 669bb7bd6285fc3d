"""The ratios that a benchmark passes to benchmarks/all.py for the table and the plot."""

import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

FILE = "KITSSEG_RATIOS"  # environment variable with the path of a file; set by benchmarks/all.py


def store(name: str, values: Sequence[float], aim: str) -> None:
    """Append a ratio that was measured several times to the file. ``aim`` is for example ``<= 1.08``."""
    path = os.environ.get(FILE)
    if path is None:
        return
    row = {"name": name, "median": statistics.median(values), "least": min(values), "most": max(values)}
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row | {"aim": aim}) + "\n")


def meets(median: float, aim: str) -> bool:
    """Return whether a ratio meets its aim."""
    sign, limit = aim.split()
    return median <= float(limit) if sign == "<=" else median >= float(limit)
