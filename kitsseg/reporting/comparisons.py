"""Compare table rows: paired differences on the cases that both rows validated."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from kitsseg.data.labels import OFFICIAL
from kitsseg.evaluation import stats
from kitsseg.evaluation.stats import Paired
from kitsseg.reporting.formats import csv_text, exact, interval, number, p_value
from kitsseg.reporting.table_rows import Row

ALL_PAIRS = 4  # compare all pairs up to this number of rows, otherwise only with the first row
HEAD = ("Comparison", "Region", "Cases", "Difference [95 %]", "p", "p (Holm)", "Effect")
NOTE = (
    "Paired differences of validation Dice over the cases that both models validated and for which "
    "both Dice values are defined. Scores are averaged over seeds per case. Brackets: 95 % bootstrap "
    "interval of the mean difference (resampling cases, and seeds where there are several). p: "
    "two-sided Wilcoxon signed-rank test over cases; it does not account for variation between seeds. "
    "p (Holm): corrected for all comparisons in this table. Effect: matched-pairs rank-biserial "
    "correlation; 1 if the first model is better in every case, −1 if the second is."
)


@dataclass(frozen=True)
class Comparison:
    """The difference ``first - second`` in one region; ``validated`` counts each row's cases."""

    first: Row
    second: Row
    region: str
    paired: Paired
    p_holm: float
    validated: tuple[int, int]

    @property
    def label(self) -> str:
        return f"{self.first.label} − {self.second.label}"


def row_pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return the pairs to compare: all pairs of a few rows, otherwise each row with the first."""
    if len(rows) <= ALL_PAIRS:
        return [(second, first) for first, second in combinations(rows, 2)]
    return [(row, rows[0]) for row in rows[1:]]


def compare(rows: Sequence[Row]) -> list[Comparison]:
    """Return the differences of final validation Dice for all pairs and official regions.

    The p values are corrected over all returned comparisons.
    """
    found = []
    for first, second in row_pairs(rows):
        for region in OFFICIAL:
            a, b = (row.scores("validation", region) for row in (first, second))
            common = sorted(set(a.cases) & set(b.cases))
            paired = stats.paired(a.select(common).values, b.select(common).values)
            found.append((first, second, region, paired, (len(a.cases), len(b.cases))))
    corrected = stats.holm([paired.p for *_, paired, _ in found])
    return [
        Comparison(first, second, region, paired, p_holm, validated)
        for (first, second, region, paired, validated), p_holm in zip(found, corrected, strict=True)
    ]


def comparison_cells(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """Return the cells under `HEAD`, one line per comparison."""
    return [
        [
            c.label,
            c.region,
            _case_count(c),
            interval(c.paired.difference, "+"),
            p_value(c.paired.p),
            p_value(c.p_holm),
            number(c.paired.effect, "+.2f"),
        ]
        for c in comparisons
    ]


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """Return a CSV file with one line per comparison and full precision; undefined values are empty."""
    head = ["first", "second", "region", "cases", "first validated", "second validated"]
    head += ["difference", "low", "high", "p", "p holm", "effect"]
    body = []
    for c in comparisons:
        d = c.paired.difference
        values = (d.mean, d.low, d.high, c.paired.p, c.p_holm, c.paired.effect)
        counts = (c.paired.cases, *c.validated)
        names = [c.first.label, c.second.label, c.region]
        body.append([*names, *map(str, counts), *map(exact, values)])
    return csv_text(head, body)


def _case_count(c: Comparison) -> str:
    common, (first, second) = c.paired.cases, c.validated
    return f"{common}" if common == first == second else f"{common} of {first} and {second}"
