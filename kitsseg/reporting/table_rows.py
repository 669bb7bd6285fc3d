"""Runs -> rows: which runs are one model, and its value in every case."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kitsseg.evaluation.metrics import SplitScores


class Run(Protocol):
    """What a row needs of a run; `kitsseg.reporting.run_record.Record` has it."""

    @property
    def seed(self) -> int: ...

    @property
    def before(self) -> SplitScores: ...

    @property
    def final(self) -> SplitScores: ...


class NamedRun(Run, Protocol):
    """A run that can find its row by itself."""

    @property
    def model(self) -> str: ...

    @property
    def overrides(self) -> list[str]: ...


@dataclass(frozen=True)
class Scores:
    """One figure of a row: ``values`` is ``[seeds, cases]``, NaN where a seed didn't score a case."""

    seeds: list[int]
    cases: list[str]
    values: np.ndarray

    @property
    def known(self) -> int:
        """How many cases have a figure."""
        return int((~np.isnan(self.values)).any(axis=0).sum())

    def of(self, cases: Sequence[str]) -> "Scores":
        """The given cases in their order; NaN for one that isn't there."""
        number = {case: i for i, case in enumerate(self.cases)}
        out = np.full((len(self.seeds), len(cases)), np.nan)
        for column, case in enumerate(cases):
            if case in number:
                out[:, column] = self.values[:, number[case]]
        return Scores(self.seeds, list(cases), out)


@dataclass(frozen=True)
class Row:
    """A model with its options: runs that differ only in their seed and in the fold that validates."""

    label: str
    runs: Sequence[Run]

    @property
    def folds(self) -> int:
        """How many different sets of cases validated."""
        return len({frozenset(run.final.get("validation", {})) for run in self.runs})

    def scores(self, part: str, region: str, after: bool = True, metric: str = "dice") -> Scores:
        """A figure of every case of one part of the split.

        A seed's value of a case is the mean over its runs that have the case in that part: with folds
        that is the one run that it validated, or all those that trained on it.

        Args:
            part: ``train`` or ``validation``.
            region: such as ``tumour``.
            after: of the last stage; else of stage one.
            metric: the entry of a case's figures, such as ``dice``.
        """
        found: dict[tuple[int, str], list[float]] = {}
        for run in self.runs:
            figures = (run.final if after else run.before).get(part, {})
            for case, entry in figures.items():
                value = entry.get(metric, {}).get(region)
                found.setdefault((run.seed, case), []).append(np.nan if value is None else value)
        seeds = sorted({run.seed for run in self.runs})
        cases = sorted({case for _, case in found})
        values = np.full((len(seeds), len(cases)), np.nan)
        for (seed, case), several in found.items():
            known = [value for value in several if not np.isnan(value)]
            if known:
                values[seeds.index(seed), cases.index(case)] = np.mean(known)
        return Scores(seeds, cases, values)

    def cases(self, part: str) -> dict[str, dict[str, Any]]:
        """A case's figures by the first of the runs that has it: what doesn't depend on the run."""
        out: dict[str, dict[str, Any]] = {}
        for run in self.runs:
            for case, entry in run.final.get(part, {}).items():
                out.setdefault(case, entry)
        return out


def rows(runs: Sequence[NamedRun]) -> list[Row]:
    """One row for each model and set of options; seeds and folds of one share it."""
    groups: dict[tuple[str, ...], list[NamedRun]] = {}
    for run in runs:
        options = sorted(o for o in run.overrides if not o.lstrip("+").startswith("split.fold="))
        groups.setdefault((run.model, *options), []).append(run)
    # Options that all groups share say nothing in a row's name.
    shared = set.intersection(*(set(key[1:]) for key in groups)) if groups else set()
    out = []
    for (model, *options), group in groups.items():
        differing = [o for o in options if o not in shared and not o.startswith("model=")]
        out.append(Row(", ".join([model, *differing]), group))
    return out
