"""Group runs into table rows and collect the per-case Dice of each row."""

import re
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import Labels
from kitsseg.evaluation import stats
from kitsseg.evaluation.metrics import mean_over_cases
from kitsseg.evaluation.optimism import Choice, optimism
from kitsseg.evaluation.stats import Interval
from kitsseg.reporting.formats import words
from kitsseg.reporting.run_record import Record

# Starts of overrides that do not affect results.
FREE = ("paths.", "logger", "hydra", "data.prepared=", "data.workers=", "data.prepare_workers=")
# The same with those that state where data are; they differ between sites.
PLACES = (*FREE, "data=", "data.root=", "data.source", "split.path=", "name=")


@dataclass(frozen=True)
class Cell:
    """A mean over cases with its interval, standard deviation over seeds, and ids of the cases.

    ``corrected`` is the mean minus the optimism of the choice of the epoch, NaN if this is unknown.
    """

    mean: Interval
    sd: float
    ids: list[str]
    corrected: float = float("nan")

    @property
    def cases(self) -> int:
        """The number of cases with a score."""
        return len(self.ids)


@dataclass(frozen=True)
class Scores:
    """The Dice of one region: ``values`` is ``[seeds, cases]``, NaN where a seed has no score."""

    cases: list[str]
    values: npt.NDArray[np.float64]

    def by_case(self) -> dict[str, float]:
        """Return the mean over seeds of each case that has a score."""
        means = zip(self.cases, stats.case_means(self.values), strict=True)
        return {case: float(mean) for case, mean in means if not np.isnan(mean)}

    def cell(self) -> Cell:
        """Return the mean with its interval, the spread and the number of cases with a score."""
        mean, sd = stats.mean_interval(self.values), stats.seed_spread(self.values)
        return Cell(mean, sd, list(self.by_case()))

    def select(self, cases: Sequence[str], seeds: Sequence[int] | None = None) -> "Scores":
        """Return the scores of ``cases`` in the given order, NaN for unknown cases.

        ``seeds`` are the places of the seeds to return; None for all.
        """
        column = {case: i for i, case in enumerate(self.cases)}
        padded = np.pad(self.values, ((0, 0), (0, 1)), constant_values=np.nan)
        values = padded[:, [column.get(case, -1) for case in cases]]
        return Scores(list(cases), values if seeds is None else values[list(seeds)])


@dataclass
class Row:
    """A configuration: all runs that differ only in seed and validation fold.

    ``label`` may be shortened for a page, ``name`` is the full label. ``recipe`` is the label without
    the site, if there are several.
    """

    label: str
    runs: Sequence[Record]
    recipe: str = ""

    def __post_init__(self) -> None:
        self.name = self.label

    @property
    def site(self) -> str:
        """Where the cases come from; empty if there is one site."""
        return self.runs[0].site

    @property
    def labels(self) -> Labels:
        """The classes and the scored regions of all runs."""
        return self.runs[0].label_set

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

    def scores(self, part: str, region: str, after: bool = True) -> Scores:
        """Return the Dice of every case of a part of the split, of the last stage or of stage one.

        With several folds, a seed's validation score of a case comes from the fold that validated it.
        Its training score is the mean over the folds that trained on it.
        """
        found: dict[tuple[int, str], list[float | None]] = {}
        for run in self.runs:
            for case, entry in (run.final if after else run.before).get(part, {}).items():
                found.setdefault((run.seed, case), []).append(entry["dice"].get(region))
        seeds, cases = self.seeds, sorted({case for _, case in found})
        values = np.full((len(seeds), len(cases)), np.nan)
        for (seed, case), dice in found.items():  # None becomes NaN
            mean = mean_over_cases(np.array(dice, np.float64))
            values[seeds.index(seed), cases.index(case)] = mean
        return Scores(cases, values)

    def cell(self, part: str, region: str, after: bool = True) -> Cell:
        """Return the mean of `scores`, corrected for the choice of the epoch on validation cases."""
        cell = self.scores(part, region, after).cell()
        if part != "validation":
            return cell
        return replace(cell, corrected=cell.mean.mean - self.optimism(region, after))

    def optimism(self, region: str, after: bool = True) -> float:
        """Return the optimism of the choice of the epoch, of the last stage or of stage one.

        NaN if a run lacks the metrics of its validations.
        """
        cases = self.scores("validation", region, after).cases
        choices = [_epochs(run, region, cases, after) for run in self.runs]
        known = [choice for choice in choices if choice is not None]
        return optimism([known]) if len(known) == len(choices) else float("nan")

    def choices(self, region: str, cases: Sequence[str]) -> list[Choice]:
        """Return the choice of the epoch of each run; a run without one has a single candidate."""
        found = []
        for run in self.runs:
            final = run.final.get("validation", {})
            dice = [final[case]["dice"].get(region) if case in final else None for case in cases]
            values = np.array(dice, np.float64)[:, None]
            found.append(_epochs(run, region, cases) or Choice(values, values))
        return found

    def validation_dice(self, region: str, after: bool = True) -> dict[str, float]:
        """Return each case's validation Dice, averaged over seeds, of the last stage or of stage one."""
        return self.scores("validation", region, after).by_case()

    def fine_tuning_change(self, region: str) -> Interval:
        """Return the mean difference of validation Dice, after minus before fine-tuning."""
        after, before = (self.scores("validation", region, stage) for stage in (True, False))
        return stats.paired(after.values, before.select(after.cases).values).difference

    def cases(self, part: str) -> dict[str, dict[str, Any]]:
        """Return each case's entry from the first run that has it, for values shared by all runs."""
        return dict(ChainMap(*(run.final.get(part, {}) for run in self.runs)))


@dataclass(frozen=True)
class Best:
    """The row with the highest mean validation Dice of a region on the cases that all rows validated.

    ``corrected`` is the mean minus the optimism of the choice of the row, and of the choice of the epoch
    of each run for which it is known.
    """

    row: Row
    region: str
    mean: float
    corrected: float
    cases: list[str]  # ids


def best_row(rows: Sequence[Row], region: str) -> Best | None:
    """Return the best of several rows in a region; None with one row or fewer than two common cases."""
    scores = [row.scores("validation", region) for row in rows]
    common = sorted(set.intersection(*(set(s.by_case()) for s in scores))) if len(rows) > 1 else []
    if len(common) < 2:
        return None
    means = [float(stats.case_means(s.select(common).values).mean()) for s in scores]
    best = int(np.argmax(means))
    corrected = means[best] - optimism([row.choices(region, common) for row in rows])
    return Best(rows[best], region, means[best], corrected, common)


def _epochs(run: Record, region: str, cases: Sequence[str], after: bool = True) -> Choice | None:
    """Return the choice of the epoch of a run; None without the metrics that made it."""
    stage = "train" if run.after is None or not after else "finetune"
    found, checkpoint = run.validated.get(stage), run.config.get("checkpoint", {})
    chosen = run.epochs.get(stage, {}).get("best", 0) - 1
    names = f"val/{region}_dice", checkpoint.get("monitor")
    if found is None or chosen not in found.epochs or not {*names} <= found.values.keys():
        return None
    row = {case: i for i, case in enumerate(found.cases)}
    places = [row.get(case, -1) for case in cases]
    values, monitored = (
        np.pad(found.values[name], ((0, 1), (0, 0)), constant_values=np.nan)[places] for name in names
    )
    return Choice(values, monitored, checkpoint["mode"])


class Number(str):
    """A number of the report as text, and what it was computed from.

    Attributes:
        name: ``NAME`` in ``python -m kitsseg.report cell=NAME``.
        rows: rows of the table; two for a difference.
        cases: ids of the cases.
    """

    name: str
    rows: Sequence[Row]
    cases: Sequence[str]

    def __new__(cls, text: str, rows: Sequence[Row], cases: Sequence[str], *name: str) -> "Number":
        number = super().__new__(cls, text)
        number.name, number.rows, number.cases = "/".join(name), rows, cases
        return number


def target_words(rows: Sequence[Row]) -> str:
    """Return the target regions of the rows, usually one, as text."""
    return " or ".join(dict.fromkeys(words(row.labels.target) for row in rows))


def without_module(text: str) -> str:
    """Return a ``kitsseg`` class path, or an override that ends in one, with the class name only.

    Classes moved between modules, so ``kitsseg.data.datamodule.SliceDataModule`` of an older record
    equals ``kitsseg.data.slices.datamodule.SliceDataModule``. Other texts are returned unchanged.
    """
    return re.sub(r"(^|_target_=)kitsseg\.(?:\w+\.)*(?=\w+$)", r"\1", text)


def group_runs(runs: Sequence[Record]) -> list[Row]:
    """Return one row per site, model and set of overrides; seeds and folds share a row.

    Overrides that do not affect results do not count; with several sites, neither do those that state
    where data are.

    Raises:
        ValueError: two runs of a row have the same seed and a validation case in common.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Record]] = {}
    several = len({run.site for run in runs}) > 1
    ignored = ("model=", "seed=", "split.fold=", *(PLACES if several else FREE))
    for run in runs:
        kept = (o for o in run.overrides if not o.lstrip("+").startswith(ignored))
        key = run.site, (run.model, *sorted(map(without_module, kept)))
        groups.setdefault(key, []).append(run)
    recipes = {recipe for _, recipe in groups}
    rows = []
    for (site, recipe), group in groups.items():
        label = ", ".join([recipe[0], *distinguishing(recipe, recipes)])
        rows.append(Row(f"{label} ({site})" if several else label, group, label))
        _check_repeats(rows[-1])
    return rows


def _check_repeats(row: Row) -> None:
    """Raise `ValueError` if two runs validated a case with the same seed, as their mean is not a run."""
    seen: set[tuple[int, str]] = set()
    for run in row.runs:
        own = {(run.seed, case) for case in run.final.get("validation", {})}
        if both := seen & own:
            case = min(both)[1]
            raise ValueError(
                f"runs: two runs of {row.label} with seed {run.seed} contain case {case}; leave one of "
                "them out, or repeat one with another name="
            )
        seen |= own


def distinguishing(recipe: tuple[str, ...], recipes: set[tuple[str, ...]]) -> list[str]:
    """Return the overrides that distinguish a recipe; only its ``name=`` if each recipe has its own."""
    names = {o for each in recipes for o in each[1:] if o.startswith("name=")}
    if len(names) == len(recipes) > 1:
        return [o for o in recipe[1:] if o in names]
    shared = set.intersection(*map(set, recipes))
    return [o for o in recipe[1:] if o not in shared]
