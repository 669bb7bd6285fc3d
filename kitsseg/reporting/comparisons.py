"""Rows against each other: paired differences on the cases that both validated."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from kitsseg.data.labels import OFFICIAL
from kitsseg.evaluation import stats
from kitsseg.evaluation.stats import Paired
from kitsseg.reporting import formats
from kitsseg.reporting.formats import exact, interval, number, p_value
from kitsseg.reporting.table_rows import Row

ALL_PAIRS = 4  # up to so many rows each is compared with each, above that with the first
HEAD = ("Comparison", "Region", "Cases", "Difference [95 %]", "p", "p (Holm)", "Effect")
NOTE = (
    "Differences of validation Dice, case by case, over the cases that both models validated and have a "
    "Dice in; a case's value is its mean over seeds. In brackets the 95 % bootstrap interval of the "
    "mean difference (cases drawn anew, and seeds where there are several). p: Wilcoxon signed-rank "
    "test, two-sided, of these runs (another seed might bring another difference); p (Holm): corrected "
    "for all comparisons of this table. Effect: matched-pairs rank-biserial correlation, 1 if the first "
    "is the better in every case, −1 if the second is."
)


@dataclass(frozen=True)
class Comparison:
    """``first`` less ``second`` in one region; ``validated`` says how many cases each validated."""

    first: Row
    second: Row
    region: str
    paired: Paired
    p_holm: float
    validated: tuple[int, int]

    @property
    def label(self) -> str:
        return f"{self.first.label} − {self.second.label}"


def pairs(table: Sequence[Row]) -> list[tuple[Row, Row]]:
    """What is compared: later rows against the first and, of few rows, against each other."""
    if len(table) <= ALL_PAIRS:
        return [(second, first) for first, second in combinations(table, 2)]
    return [(row, table[0]) for row in table[1:]]


def compare(
    table: Sequence[Row], regions: Sequence[str] = OFFICIAL, metric: str = "dice"
) -> list[Comparison]:
    """All pairs' differences of the final validation figures, p values corrected over all of them."""
    found = []
    for first, second in pairs(table):
        for region in regions:
            a, b = (row.scores("validation", region, metric=metric) for row in (first, second))
            common = sorted(set(a.cases) & set(b.cases))
            result = stats.paired(a.of(common).values, b.of(common).values)
            found.append((first, second, region, result, (len(a.cases), len(b.cases))))
    corrected = stats.holm([result.p for *_, result, _ in found])
    return [Comparison(*each[:4], p, each[4]) for each, p in zip(found, corrected, strict=True)]


def lines(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """The cells under `HEAD`."""
    return [
        [
            each.label,
            each.region,
            _cases(each),
            interval(each.paired.difference, "+"),
            p_value(each.paired.p),
            p_value(each.p_holm),
            number(each.paired.effect, "+.2f"),
        ]
        for each in comparisons
    ]


def comma_separated(comparisons: Sequence[Comparison]) -> str:
    """A line a comparison, full precision; an empty cell is a figure that doesn't exist."""
    head = ["first", "second", "region", "cases", "first validated", "second validated"]
    head += ["difference", "low", "high", "p", "p holm", "effect"]
    body = []
    for each in comparisons:
        d = each.paired.difference
        figures = (d.mean, d.low, d.high, each.paired.p, each.p_holm, each.paired.effect)
        counts = (each.paired.cases, *each.validated)
        body.append([each.first.label, each.second.label, each.region, *map(str, counts)])
        body[-1] += [exact(figure) for figure in figures]
    return formats.comma_separated(head, body)


def _cases(each: Comparison) -> str:
    common, (first, second) = each.paired.cases, each.validated
    return f"{common}" if common == first == second else f"{common} of {first} and {second}"
