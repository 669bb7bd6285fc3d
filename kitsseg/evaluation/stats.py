"""What can be said of all patients from the few that were scored: intervals, paired tests.

The sampling unit is the case. Slices never count, and seeds don't add cases: a case's value is its mean
over the seeds that scored it. NaN is a case (or a seed's case) without a figure, and is left out.

Intervals are bootstrap intervals of the mean over cases:

- With one seed the cases are drawn anew, and the interval speaks of that one run's weights. With
  several, cases and seeds are each drawn anew (Owen, "The pigeonhole bootstrap", Ann. Appl. Stat. 1,
  2007), and the interval speaks of the recipe; it errs on the wide side (Owen and Eckles, Ann. Appl.
  Stat. 6, 2012), except that two or three seeds show less than all of the spread between seeds.
- BCa (Efron, JASA 82, 1987), since Dice is skewed, its tails widened for few cases by Student's t in
  place of the normal and by sqrt(n / (n - 1)), by which the usual percentile interval is too short
  (Hesterberg, American Statistician 69, 2015). How many of such intervals held the true mean, beside
  those of other kinds, is in experiments/03_intervals.

The draws come from a generator of the function's own: equal arguments give equal results.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special  # scipy.stats takes a second to import, and --help imports this

DRAWS = 9999
CONFIDENCE = 0.95
DECIMALS = 12  # differences that differ only by rounding are ties, as SciPy's wilcoxon advises


@dataclass(frozen=True)
class Interval:
    """A mean over cases and its interval; NaN where there is none."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """Two models on the same cases.

    Attributes:
        difference: mean over cases of the first's value less the second's.
        p: two-sided, of Wilcoxon's signed-rank test over cases.
        effect: matched-pairs rank-biserial correlation, from -1 (the second is better in every case) by
            0 to 1 (the first is).
        cases: how many have a figure of both.
    """

    difference: Interval
    p: float
    effect: float
    cases: int


def mean_interval(
    values: ArrayLike, confidence: float = CONFIDENCE, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """The mean over cases with its bootstrap interval (see the module).

    Args:
        values: ``[cases]`` or ``[seeds, cases]``, NaN for no figure.
        confidence: of the interval, within (0, 1).
        draws: of the bootstrap, at least 1.
        seed: of the draws.

    Returns:
        No cases: all NaN. One case: its value, and NaN for the interval, since one case doesn't show how
        cases differ. Equal cases: an interval without width, for the same reason not to be trusted.

    Raises:
        ValueError: an argument out of its range.
    """
    table = _known_cases(_table(values))
    rng = _generator(confidence, draws, seed)
    return _interval(case_means(table), _draw([table], draws, rng), confidence)


def paired(
    a: ArrayLike,
    b: ArrayLike,
    confidence: float = CONFIDENCE,
    draws: int = DRAWS,
    seed: int = 0,
) -> Paired:
    """Two models on the same cases: how far they differ, and whether chance alone could do it.

    The interval draws seeds anew if there are several, and so speaks of the two recipes. The p value is
    of the cases' means over the seeds that ran: it speaks of those runs' weights on other patients, and
    of nothing that another seed might have brought.

    Args:
        a, b: ``[cases]`` or ``[seeds, cases]``, in the same order of cases, NaN for no figure. With as
            many seeds, row by row the same seeds; else each side's seeds are drawn by themselves.
        confidence, draws, seed: as of `mean_interval`.

    Returns:
        Cases without a figure on either side don't count. Without any: NaN and 0 cases. If all
        differences are 0, p is 1 and the effect 0.

    Raises:
        ValueError: an argument out of its range, or another number of cases.
    """
    left, right = _table(a), _table(b)
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            f"a has {left.shape[1]} cases and b has {right.shape[1]}: give the same cases in the same "
            "order, NaN where one has no figure"
        )
    rng = _generator(confidence, draws, seed)
    both = ~np.isnan(case_means(left)) & ~np.isnan(case_means(right))
    left, right = left[:, both], right[:, both]
    difference = case_means(left) - case_means(right)
    interval = _interval(difference, _draw([left, right], draws, rng), confidence)
    return Paired(interval, *signed_rank(difference), int(both.sum()))


def case_means(values: ArrayLike) -> np.ndarray:
    """Each case's mean over the seeds that scored it ``[cases]``, from ``[seeds, cases]``."""
    table = _table(values)
    return _weighted(table, np.ones((1, len(table))))[0]


def seed_spread(values: ArrayLike) -> float:
    """Sample standard deviation, over seeds, of the mean over the cases that all seeds scored.

    Args:
        values: ``[seeds, cases]``; NaN comes back if there are fewer than two seeds or no such case.
    """
    table = _table(values)
    common = table[:, ~np.isnan(table).any(axis=0)]
    if len(table) < 2 or common.shape[1] == 0:
        return float("nan")
    return float(common.mean(axis=1).std(ddof=1))


def signed_rank(differences: ArrayLike) -> tuple[float, float]:
    """Wilcoxon's signed-rank test of paired differences ``[cases]``: two-sided p, and the effect.

    Zero differences are left out (``zero_method="wilcox"`` in SciPy), equal ones share their ranks, and
    p is exact for any number of cases: over all signs that the ranks at hand could have had. It equals
    ``scipy.stats.wilcoxon`` wherever that is exact, which with ties it is up to 13 cases only.

    The effect is the matched-pairs rank-biserial correlation: the rank sum of the positive differences
    less that of the negative ones, over both (Kerby, Comprehensive Psychology 3, 2014).
    """
    d = np.round(np.asarray(differences, np.float64), DECIMALS)
    if d.size == 0:
        return float("nan"), float("nan")
    d = d[d != 0]
    if d.size == 0:
        return 1.0, 0.0
    _, place, ties = np.unique(np.abs(d), return_inverse=True, return_counts=True)
    last = np.cumsum(ties)
    ranks = (last - ties + 1 + last)[place]  # first plus last of those that share: twice the rank
    positive, total = int(ranks[d > 0].sum()), int(ranks.sum())
    chance = np.zeros(total + 1)  # of each sum of positive ranks
    chance[0] = 1
    for rank in ranks:
        chance[rank:] += chance[:-rank].copy()
        chance /= 2
    p = 2 * min(chance[: positive + 1].sum(), chance[positive:].sum())
    return min(1.0, float(p)), (2 * positive - total) / total


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scand. J. Stat. 6, 1979): p values that hold for all together.

    A NaN stays one and doesn't count as a comparison.
    """
    p = np.asarray(p_values, np.float64)
    order = [i for i in np.argsort(p, kind="stable") if not np.isnan(p[i])]
    out, least = p.copy(), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p[i]))
        out[i] = least
    return [float(each) for each in out]


def _table(values: ArrayLike) -> np.ndarray:
    """``[seeds, cases]`` of float64."""
    table = np.atleast_2d(np.asarray(values, np.float64))
    if table.ndim != 2 or len(table) == 0:
        raise ValueError(f"values of shape {np.shape(values)}: must be [cases] or [seeds, cases]")
    if np.isinf(table).any():
        raise ValueError("values hold an infinite number: give NaN where a case has no figure")
    return table


def _known_cases(table: np.ndarray) -> np.ndarray:
    return table[:, ~np.isnan(table).all(axis=0)]


def _generator(confidence: float, draws: int, seed: int) -> np.random.Generator:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} must lie in (0, 1), such as 0.95")
    if draws < 1:
        raise ValueError(f"draws={draws} must be at least 1")
    return np.random.default_rng(seed)


def _weighted(table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Each case's mean over seeds ``[draws, cases]``, by the seeds' ``weights`` ``[draws, seeds]``."""
    known = ~np.isnan(table)
    total, count = weights @ np.where(known, table, 0), weights @ known
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _draw(tables: list[np.ndarray], draws: int, rng: np.random.Generator) -> np.ndarray:
    """``[draws]``: the mean, or the mean difference of two tables, over cases and seeds drawn anew.

    Both tables get the same cases, and the same seeds if they have as many.
    """
    cases = tables[0].shape[1]
    if cases < 2:
        return np.empty(0)
    picked = rng.integers(cases, size=(draws, cases))
    drawn: dict[int, np.ndarray] = {}
    means = []
    for table in tables:
        seeds = len(table)
        if seeds not in drawn:
            drawn[seeds] = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
        if seeds == 1:
            means.append(table[0][picked])
        else:
            means.append(np.take_along_axis(_weighted(table, drawn[seeds]), picked, axis=1))
    values = means[0] if len(means) == 1 else means[0] - means[1]
    # A case that none of the drawn seeds scored is left out of that draw; a draw without cases, too.
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0).sum(axis=1)
    return np.round(total[count > 0] / count[count > 0], DECIMALS)


def _interval(values: np.ndarray, drawn: np.ndarray, confidence: float) -> Interval:
    """BCa with widened tails, from the cases' values ``[cases]`` and the drawn means ``[draws]``."""
    n = len(values)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    mean = float(values.mean())
    if len(drawn) == 0:
        return Interval(mean, float("nan"), float("nan"))
    point = np.round(mean, DECIMALS)
    below = (np.mean(drawn < point) + np.mean(drawn <= point)) / 2
    bias = special.ndtri(below) if 0 < below < 1 else 0.0
    deviation = values - mean
    spread = np.sum(deviation**2) ** 1.5
    acceleration = np.sum(deviation**3) / (6 * spread) if spread > 0 else 0.0
    tail = np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 + confidence) / 2)
    z = bias + np.array([-tail, tail])
    low, high = np.quantile(drawn, special.ndtr(bias + z / (1 - acceleration * z)))
    return Interval(mean, float(low), float(high))
