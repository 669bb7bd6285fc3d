"""What a benchmark hands on to the table and the plot of all."""

import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

FILE = "KITSSEG_RATIOS"  # names a file; set by benchmarks/all.py


def keep(name: str, values: Sequence[float], aim: str) -> None:
    """Add a ratio measured several times: ``aim`` says what it should be, such as ``<= 1.08``."""
    path = os.environ.get(FILE)
    if path is None:
        return
    row = {"name": name, "median": statistics.median(values), "least": min(values), "most": max(values)}
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row | {"aim": aim}) + "\n")


def meets(median: float, aim: str) -> bool:
    """Whether a ratio is as its aim says."""
    sign, limit = aim.split()
    return median <= float(limit) if sign == "<=" else median >= float(limit)
