"""Read a pilot for planning: the differences between two models for each seed and case."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kitsseg.reporting import runs
from kitsseg.reporting.table_rows import group_runs

Values = dict[str, dict[int, dict[str, float]]]  # by model, seed and case
COLUMNS = ("model", "seed", "case", "value")


@dataclass(frozen=True)
class Pilot:
    """Two models on the same seeds and cases.

    Attributes:
        models: names of the two models.
        differences: ``[seeds, cases]``, the second model's value minus the first's; NaN where undefined.
        hours: mean duration of all runs of one seed and model, which are several with folds; None if
            unknown.
        hardware: what the runs ran on; empty if unknown.
    """

    models: tuple[str, str]
    differences: npt.NDArray[np.float64]
    hours: float | None = None
    hardware: str = ""


def read(path: Path, region: str | None) -> tuple[Pilot, str]:
    """Return the pilot in a folder of runs or a CSV file, and the name of what is compared.

    Raises:
        ValueError: there are not two models with two common seeds.
    """
    return (_from_csv(path), region or "value") if path.is_file() else _from_runs(path, region)


def _from_runs(folder: Path, region: str | None) -> tuple[Pilot, str]:
    records = [job.record for job in runs.find_jobs([folder]) if job.record is not None]
    rows = group_runs(records)
    if len(rows) != 2:
        names = ", ".join(row.label for row in rows) or "none"
        raise ValueError(
            f"runs={folder}: a pilot has two models, this one has {len(rows)} ({names}); set the folder "
            "of a sweep over two models"
        )
    region = region or rows[0].labels.target
    if region not in rows[0].labels.regions:
        known = ", ".join(rows[0].labels.regions)
        raise ValueError(f"region={region}: must be one of {known}")
    values: Values = {}
    for row in rows:
        scores = row.scores("validation", region)
        by_seed = zip(row.seeds, scores.values, strict=True)
        values[row.label] = {seed: dict(zip(scores.cases, dice, strict=True)) for seed, dice in by_seed}
    hours = [sum(record.seconds.values()) / 3600 for record in records]
    per_seed = sum(hours) / sum(len(row.seeds) for row in rows) if all(hours) else None
    device = records[0].environment.get("device", "")
    return _pilot(values, str(folder), per_seed, device), region


def _from_csv(path: Path) -> Pilot:
    values: Values = defaultdict(lambda: defaultdict(dict))
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restval="")
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(
                f"{path}: has no column {', '.join(missing)}; expected {', '.join(COLUMNS)}"
            )
        for number, line in enumerate(reader, 2):
            try:
                value = float(line["value"]) if line["value"].strip() else np.nan
                seed = int(line["seed"])
            except ValueError:
                raise ValueError(f"{path}, line {number}: seed and value must be numbers") from None
            if np.isinf(value):
                raise ValueError(f"{path}, line {number}: value must be finite, or empty if undefined")
            if line["case"] in values[line["model"]][seed]:
                raise ValueError(f"{path}, line {number}: case {line['case']} occurs twice")
            values[line["model"]][seed][line["case"]] = value
    return _pilot(values, str(path))


def _pilot(values: Values, where: str, hours: float | None = None, hardware: str = "") -> Pilot:
    if len(values) != 2:
        raise ValueError(f"runs={where}: a pilot has two models, this one has {len(values)}; keep two")
    (first, a), (second, b) = values.items()
    seeds = sorted(set(a) & set(b))
    if len(seeds) < 2:
        raise ValueError(
            f"runs={where}: {first} and {second} have fewer than two seeds in common; run both with at "
            "least two, such as seed=0,1"
        )
    cases = sorted(set.intersection(*(set(x[seed]) for x in (a, b) for seed in seeds)))
    differences = np.array([[b[s][c] - a[s][c] for c in cases] for s in seeds], np.float64)
    return Pilot((first, second), differences, hours, hardware)
