"""Compare table rows: paired differences on the cases that both rows validated."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import combinations

from kitsseg.evaluation import stats
from kitsseg.evaluation.stats import Paired
from kitsseg.reporting.formats import csv_text, interval, number, p_value, words
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
    validated: tuple[int, int]
    p_holm: float

    @property
    def label(self) -> str:
        return f"{self.first.label} − {self.second.label}"

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes 0 and the corrected p value is below 0.05."""
        difference = self.paired.difference
        return (difference.low > 0 or difference.high < 0) and self.p_holm < 0.05


def row_pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return the pairs to compare: all pairs of a few rows, otherwise each row with the first."""
    if len(rows) <= ALL_PAIRS:
        return [(second, first) for first, second in combinations(rows, 2)]
    return [(row, rows[0]) for row in rows[1:]]


def compare(rows: Sequence[Row]) -> list[Comparison]:
    """Return the differences of final validation Dice, with p values corrected over all of them."""
    found = []
    for first, second in row_pairs(rows):
        for region in rows[0].labels.table_regions:
            a, b = (row.scores("validation", region) for row in (first, second))
            common = sorted(set(a.cases) & set(b.cases))
            paired = stats.paired(a.select(common).values, b.select(common).values)
            found.append((first, second, region, paired, (len(a.cases), len(b.cases))))
    corrected = stats.holm([paired.p for *_, paired, _ in found])
    return [Comparison(*parts, p) for parts, p in zip(found, corrected, strict=True)]


def comparison_cells(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """Return the cells under `HEAD`, one line per comparison."""
    lines = []
    for c in comparisons:
        common, (first, second) = c.paired.cases, c.validated
        cases = f"{common}" if common == first == second else f"{common} of {first} and {second}"
        values = [interval(c.paired.difference, "+"), p_value(c.paired.p), p_value(c.p_holm)]
        lines.append([c.label, words(c.region), cases, *values, number(c.paired.effect, "+.2f")])
    return lines


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """Return a CSV file with one line per comparison and full precision; undefined values are empty."""
    head = ["first", "second", "region", "cases", "first validated", "second validated"]
    head += ["difference", "low", "high", "p", "p holm", "effect"]
    body: list[list[object]] = []
    for c in comparisons:
        line = [c.first.label, c.second.label, c.region, c.paired.cases, *c.validated]
        body.append([*line, *astuple(c.paired.difference), c.paired.p, c.p_holm, c.paired.effect])
    return csv_text(head, body)
