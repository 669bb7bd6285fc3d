"""Compare table rows: paired differences on the cases that both rows validated."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from itertools import combinations

from kitsseg.evaluation import stats
from kitsseg.evaluation.metrics import mean_over_cases
from kitsseg.evaluation.stats import Interval, Paired
from kitsseg.reporting.formats import csv_text, interval, number, p_value, words
from kitsseg.reporting.table_rows import Number, Row

ALL_PAIRS = 4  # compare all pairs up to this number of rows, otherwise only with the first row
MARGIN = 0.02  # of Dice, below which a difference does not matter
HEAD = ("Comparison", "Region", "Verdict", "Cases", "Difference [95 %]", "p", "p (Holm)", "Effect")
NOTE = (
    "Verdict on the first model. Better or worse: the interval excludes 0, and p (Holm) is below 0.05. "
    "Equivalent: the 90 % interval lies within ±{margin:g} (two one-sided tests at 5 %); this takes "
    "precedence. Undecided: "
    "neither. "
    "With fewer than two seeds to compare, the verdict can only state that these two networks differ: "
    "other seeds may give another result. "
    "Paired differences of validation Dice over the cases that both models validated and for which "
    "both Dice values are defined. Scores are averaged over seeds per case. Brackets: 95 % interval "
    "of the mean difference (cases, and seeds where there are several, are taken as samples). If "
    "two models have different numbers of seeds and at least two in common, only the common seeds are "
    "compared. p: "
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
    narrow: Interval  # 90 % interval of the difference
    validated: tuple[int, int]
    margin: float
    cases: list[str]  # with a Dice of both rows
    seeds: int  # that are compared; 1 if the rows have different numbers of seeds
    larger: float  # the larger of the two means
    p_holm: float = float("nan")

    @property
    def label(self) -> str:
        return f"{self.first.label} − {self.second.label}"

    @property
    def verdict(self) -> str:
        """What the evidence says of the first row: see `decide`. Empty without common cases."""
        if not self.paired.cases:
            return ""
        if self.larger < self.margin:  # neither network segments the region
            return "undecided"
        return decide(self.paired.difference, self.narrow, self.p_holm, self.seeds, self.margin)


def decide(difference: Interval, narrow: Interval, p: float, seeds: int, margin: float) -> str:
    """Return the verdict on a mean difference.

    Equivalence takes precedence: a difference within the margin does not matter, even if it is
    significant.

    Args:
        difference: its 95 % interval.
        narrow: its 90 % interval; within ±``margin``, both one-sided tests at 5 % reject a difference
            of ``margin`` (Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987).
        p: corrected for the number of comparisons.
        seeds: the number of seeds that are compared.

    Returns:
        ``better``, ``worse``, ``equivalent``, ``undecided`` or ``these weights differ``.
    """
    differs = (difference.low > 0 or difference.high < 0) and p < 0.05
    if seeds < 2:
        return "these weights differ" if differs else "undecided"
    if -margin < narrow.low and narrow.high < margin:
        return "equivalent"
    if differs:
        return "better" if difference.mean > 0 else "worse"
    return "undecided"


def row_pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return the pairs of a site to compare: all of a few rows, otherwise each row with the first.

    All sites have the same order of recipes, so that their differences can be combined.
    """
    sites: dict[str, list[Row]] = {}
    order = {recipe: i for i, recipe in enumerate(dict.fromkeys(row.recipe for row in rows))}
    for row in sorted(rows, key=lambda row: order[row.recipe]):
        sites.setdefault(row.site, []).append(row)
    found = []
    for own in sites.values():
        if len(own) <= ALL_PAIRS:
            found += [(second, first) for first, second in combinations(own, 2)]
        else:
            found += [(row, own[0]) for row in own[1:]]
    return found


def compare(rows: Sequence[Row], margin: float = MARGIN) -> list[Comparison]:
    """Return the differences of final validation Dice, with p values corrected over all of them.

    Rows whose 90 % interval of the difference lies within ±``margin`` are equivalent.
    """
    found = [
        _compare_rows(first, second, region, margin)
        for first, second in row_pairs(rows)
        for region in rows[0].labels.table_regions
    ]
    corrected = stats.holm([c.paired.p for c in found])
    return [replace(c, p_holm=p) for c, p in zip(found, corrected, strict=True)]


def _compare_rows(first: Row, second: Row, region: str, margin: float) -> Comparison:
    """Return the difference of two rows in a region, without the corrected p value.

    If the rows have different numbers of seeds and at least two common ones, these are compared.
    """
    a, b = (row.scores("validation", region) for row in (first, second))
    validated = (len(a.cases), len(b.cases))
    common = sorted({*a.cases} & {*b.cases})
    seeds = {*first.seeds} & {*second.seeds}
    if len(first.seeds) == len(second.seeds) or len(seeds) < 2:
        seeds = {*first.seeds, *second.seeds}
    a, b = (
        scores.select(common, [i for i, seed in enumerate(row.seeds) if seed in seeds])
        for scores, row in ((a, first), (b, second))
    )
    return Comparison(
        first=first,
        second=second,
        region=region,
        paired=stats.paired(a.values, b.values),
        narrow=stats.paired(a.values, b.values, confidence=0.9).difference,
        validated=validated,
        margin=margin,
        cases=[case for case in a.by_case() if case in b.by_case()],
        # With different numbers, the bootstrap underestimates the variance of seeds.
        seeds=len(a.values) if len(a.values) == len(b.values) else 1,
        larger=max(mean_over_cases(stats.case_means(scores.values)) for scores in (a, b)),
    )


def comparison_cells(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """Return the cells under `HEAD`, one line per comparison."""
    lines = []
    for c in comparisons:
        common, (first, second) = c.paired.cases, c.validated
        texts = {
            "cases": f"{common}" if common == first == second else f"{common} of {first} and {second}",
            "difference": interval(c.paired.difference, "+"),
            "p": p_value(c.paired.p),
            "p_holm": p_value(c.p_holm),
            "effect": number(c.paired.effect, "+.2f"),
        }
        of = (c.first.name, c.second.name, c.region)
        found = [Number(text, (c.first, c.second), c.cases, name, *of) for name, text in texts.items()]
        lines.append([c.label, words(c.region), c.verdict, *found])
    return lines


def note(comparisons: Sequence[Comparison]) -> str:
    """Return the text under the table."""
    text = NOTE.format(margin=comparisons[0].margin)
    if any(c.paired.cases < min(c.validated) for c in comparisons):
        text += (
            " If a region is absent from the truth and from the prediction of one model, the Dice of "
            "that model is undefined and the case is excluded. False positives of the other model in "
            "such cases are therefore not part of the differences."
        )
    return text


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """Return a CSV file with one line per comparison and full precision; undefined values are empty."""
    head = [
        "first", "second", "region", "verdict", "margin", "cases", "first validated", "second validated",
        "difference", "low", "high", "p", "p holm", "effect",
    ]  # fmt: skip
    body = [
        [
            c.first.label, c.second.label, c.region, c.verdict, c.margin, c.paired.cases, *c.validated,
            *astuple(c.paired.difference), c.paired.p, c.p_holm, c.paired.effect,
        ]
        for c in comparisons
    ]  # fmt: skip
    return csv_text(head, body)
