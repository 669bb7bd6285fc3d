"""Group runs into table rows and collect the per-case scores of each row."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.reporting.run_record import Record


@dataclass(frozen=True)
class Scores:
    """One metric of a row.

    Attributes:
        seeds: seeds in the order of ``values``.
        cases: case ids in the order of ``values``.
        values: ``[seeds, cases]``; NaN where a seed has no score for a case.
    """

    seeds: list[int]
    cases: list[str]
    values: npt.NDArray[np.float64]

    @property
    def scored_cases(self) -> int:
        """The number of cases with at least one score."""
        return int((~np.isnan(self.values)).any(axis=0).sum())

    def select(self, cases: Sequence[str]) -> "Scores":
        """Return the scores of ``cases`` in the given order; NaN for unknown cases."""
        column = {case: i for i, case in enumerate(self.cases)}
        out = np.full((len(self.seeds), len(cases)), np.nan)
        for i, case in enumerate(cases):
            if case in column:
                out[:, i] = self.values[:, column[case]]
        return Scores(self.seeds, list(cases), out)


@dataclass(frozen=True)
class Row:
    """A configuration: all runs that differ only in seed and validation fold."""

    label: str
    runs: Sequence[Record]

    @property
    def folds(self) -> int:
        """The number of different validation sets."""
        return len({frozenset(run.final.get("validation", {})) for run in self.runs})

    @property
    def seeds(self) -> list[int]:
        """The different seeds in ascending order."""
        return sorted({run.seed for run in self.runs})

    @property
    def is_fine_tuned(self) -> bool:
        """Whether all runs have a fine-tuning stage."""
        return all(run.after is not None for run in self.runs)

    def scores(self, part: str, region: str, after: bool = True, metric: str = "dice") -> Scores:
        """Return one metric for every case of one part of the split.

        With several folds, a seed's validation score of a case comes from the fold that validated it.
        Its training score is the mean over the folds that trained on it.

        Args:
            part: ``train`` or ``validation``.
            region: such as ``tumour``.
            after: whether to use the last stage instead of stage one.
            metric: key in a case's entry, such as ``dice``.
        """
        found: dict[tuple[int, str], list[float]] = {}
        for run in self.runs:
            for case, entry in (run.final if after else run.before).get(part, {}).items():
                value = entry.get(metric, {}).get(region)
                found.setdefault((run.seed, case), []).append(np.nan if value is None else value)
        seeds, cases = self.seeds, sorted({case for _, case in found})
        values = np.full((len(seeds), len(cases)), np.nan)
        for (seed, case), scores in found.items():
            defined = [score for score in scores if not np.isnan(score)]
            if defined:
                values[seeds.index(seed), cases.index(case)] = np.mean(defined)
        return Scores(seeds, cases, values)

    def cases(self, part: str) -> dict[str, dict[str, Any]]:
        """Return each case's entry from the first run that has it, for values shared by all runs."""
        out: dict[str, dict[str, Any]] = {}
        for run in self.runs:
            for case, entry in run.final.get(part, {}).items():
                out.setdefault(case, entry)
        return out


def without_module(path: str) -> str:
    """Return the class name of a ``kitsseg`` class path; other texts are returned unchanged.

    Classes moved between modules, so ``kitsseg.data.datamodule.SliceDataModule`` of an older record
    equals ``kitsseg.data.slices.datamodule.SliceDataModule``.
    """
    return re.sub(r"^kitsseg\.(?:\w+\.)*(?=\w+$)", "", path)


def group_runs(runs: Sequence[Record]) -> list[Row]:
    """Return one row per model and set of overrides; seeds and folds share a row."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for run in runs:
        overrides = sorted(
            map(_normalised, (o for o in run.overrides if not o.lstrip("+").startswith("split.fold=")))
        )
        groups.setdefault((run.model, *overrides), []).append(run)
    # A label names only the overrides that distinguish rows.
    shared = set.intersection(*(set(key[1:]) for key in groups)) if groups else set()
    rows = []
    for (model, *overrides), group in groups.items():
        differing = [o for o in overrides if o not in shared and not o.startswith("model=")]
        rows.append(Row(", ".join([model, *differing]), group))
    return rows


def _normalised(override: str) -> str:
    key, equals, value = override.partition("=")
    return f"{key}{equals}{without_module(value)}" if key.endswith("_target_") else override
