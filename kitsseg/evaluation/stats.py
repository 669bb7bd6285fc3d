"""Confidence intervals and paired tests over cases.

The case is the sampling unit. Seeds do not add cases: the value of a case is its mean over seeds. NaN
marks an undefined value and is skipped. Intervals of means over cases are bootstrap intervals with a
fixed random seed:

- With one seed, cases are resampled, and the interval describes the weights of that run. With several
  seeds, cases and seeds are resampled independently (pigeonhole bootstrap: Owen, Ann. Appl. Stat. 1,
  2007), and the interval describes the training recipe. It is conservative (Owen and Eckles, Ann. Appl.
  Stat. 6, 2012), but two or three seeds underestimate the variance between seeds. The interval of a
  difference between two models with common seeds therefore uses `random_effects`.
- The limits are bias-corrected and accelerated (BCa: Efron, JASA 82, 1987), because Dice is skewed. For
  few cases, the tails are widened by Student's t and by sqrt(n / (n - 1)) (Hesterberg, American
  Statistician 69, 2015). experiments/03_intervals compares the coverage with that of other intervals.
- Distances and volume errors have few large values, which most small samples do not contain. No interval
  of their mean is reliable with few cases, so they get an interval of the median (`median_interval`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # scipy.stats is slow to import

from kitsseg.evaluation import random_effects

DRAWS = 9999
CONFIDENCE = 0.95
MIN_COMPLETE = 4  # cases with a value for every seed, below which variances are not estimated
DECIMALS = 12  # rounds differences, so that floating-point noise does not break ties

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over cases and the limits of its interval; NaN if undefined."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """A paired comparison of two models."""

    difference: Interval  # mean over cases of the first model's value minus the second's
    p: float  # two-sided, of Wilcoxon's signed-rank test over cases
    effect: float  # 1 if the first model has the larger value in every case, -1 if the second has
    cases: int  # number of cases in which both models have a value


def mean_interval(values: ArrayLike, confidence: float = CONFIDENCE, draws: int = DRAWS) -> Interval:
    """Return the mean over cases and its interval from ``draws`` bootstrap samples.

    ``values`` are ``[cases]`` or ``[seeds, cases]``, NaN where undefined. Without cases, the result is
    NaN; with one case, only its limits are. If all cases are equal, the interval has zero width, which
    understates the uncertainty. `ValueError` is raised for arguments out of range.
    """
    table = _table(values)
    table = table[:, ~np.isnan(table).all(axis=0)]
    return _interval(case_means(table), [table], confidence, draws)


def median_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Return the median over cases ``[cases]`` and the limits of its interval.

    The limits are the k-th smallest and the k-th largest value. With the largest k that the binomial
    distribution allows, they contain the median of any population with at least this probability. At
    95 %, fewer than six cases have no such k, and the limits are NaN. Without cases, the result is NaN.
    """
    array = np.asarray(values, np.float64)
    known = np.sort(array[~np.isnan(array)])
    n = len(known)
    if n == 0:
        return float("nan"), float("nan"), float("nan")
    k = np.count_nonzero(2 * special.bdtr(np.arange(n), n, 0.5) <= 1 - confidence)
    low, high = (known[k - 1], known[n - k]) if k else (np.nan, np.nan)
    return float(np.median(known)), float(low), float(high)


def paired(a: ArrayLike, b: ArrayLike, confidence: float = CONFIDENCE, draws: int = DRAWS) -> Paired:
    """Compare two models on the same cases.

    If both have the same number of seeds, and at least two, `random_effects` computes the interval,
    which describes the two recipes. Otherwise it is a bootstrap interval. The p value uses the means
    over seeds: it describes these weights on other patients, not other seeds.

    ``a`` and ``b`` are ``[cases]`` or ``[seeds, cases]``, NaN where undefined, with the same cases in
    the same order. If both have the same number of seeds, row i is the same seed in both. Only cases
    with a value in both are compared. The variances use the cases with a value for every seed; with
    fewer than `MIN_COMPLETE` of them, the interval is a bootstrap interval. Without common cases, the
    result is NaN and 0 cases. `ValueError` is raised for arguments out of range and for different
    numbers of cases.
    """
    left, right = _table(a), _table(b)
    if left.shape[1] != right.shape[1]:
        remedy = "pass the same cases in the same order, with NaN where a value is undefined"
        raise ValueError(f"a has {left.shape[1]} cases and b has {right.shape[1]}: {remedy}")
    both = ~np.isnan(case_means(left)) & ~np.isnan(case_means(right))
    left, right = left[:, both], right[:, both]
    difference = case_means(left) - case_means(right)
    complete = (
        (left - right)[:, ~np.isnan(left - right).any(axis=0)] if len(left) == len(right) else left[:0]
    )
    if len(complete) > 1 and complete.shape[1] >= MIN_COMPLETE:
        mean, half = float(difference.mean()), float(random_effects.half_width(complete, confidence))
        interval = Interval(mean, mean - half, mean + half)
    else:
        interval = _interval(difference, [left, right], confidence, draws)
    return Paired(interval, *signed_rank(difference), int(both.sum()))


def case_means(values: ArrayLike) -> Floats:
    """Return ``[cases]``: the mean of ``[seeds, cases]`` over the seeds with a value."""
    table = _table(values)
    return np.asarray(weighted_means(table, np.ones((1, len(table))))[0])


def seed_spread(values: ArrayLike) -> float:
    """Return the sample standard deviation over seeds of the mean over cases of ``[seeds, cases]``.

    Only cases with a value for every seed are used. NaN with fewer than two seeds or without such cases.
    """
    table = _table(values)
    common = table[:, ~np.isnan(table).any(axis=0)]
    if len(table) < 2 or common.shape[1] == 0:
        return float("nan")
    return float(common.mean(axis=1).std(ddof=1))


def weighted_means(table: Floats, weights: NDArray[Any]) -> Floats:
    """Return ``[draws, columns]``: means over the rows of a table, weighted by ``[draws, rows]``.

    NaN is skipped. The mean of values without weight is NaN.
    """
    known = ~np.isnan(table)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        return np.asarray((weights @ np.where(known, table, 0)) / (weights @ known))


def signed_rank(differences: ArrayLike) -> tuple[float, float]:
    """Return p and effect size of Wilcoxon's signed-rank test (Biometrics Bulletin 1, 1945).

    ``differences`` are ``[cases]`` without NaN. Without any, the result is NaN. Zeros are dropped
    (``zero_method="wilcox"`` in SciPy); if all are zero, the result is (1, 0). The two-sided p value is
    exact for any number of cases, also with ties, which share their mean rank: it enumerates the
    distribution over all signs. The effect is the matched-pairs rank-biserial correlation: the rank sum
    of the positive differences minus that of the negative ones, divided by the total (Kerby,
    Comprehensive Psychology 3, 2014).
    """
    rounded = np.round(np.asarray(differences, np.float64), DECIMALS)
    d = rounded[rounded != 0]
    if d.size == 0:
        return (1.0, 0.0) if rounded.size else (float("nan"), float("nan"))
    _, place, ties = np.unique(np.abs(d), return_inverse=True, return_counts=True)
    last = np.cumsum(ties)
    ranks = (last - ties + 1 + last)[place]  # twice the mean rank, an integer
    positive, total = int(ranks[d > 0].sum()), int(ranks.sum())
    chance = np.zeros(total + 1)  # probability of each sum of positive ranks
    chance[0] = 1
    for rank in ranks:
        chance[rank:] += chance[:-rank].copy()
        chance /= 2
    p = 2 * min(chance[: positive + 1].sum(), chance[positive:].sum())
    return min(1.0, float(p)), (2 * positive - total) / total


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm's step-down method (Scand. J. Stat. 6, 1979).

    NaN stays NaN and does not count as a comparison.
    """
    adjusted = np.array(p_values, np.float64)
    order = np.argsort(adjusted)[: np.count_nonzero(~np.isnan(adjusted))]  # NaN sorts last
    scaled = np.arange(len(order), 0, -1) * adjusted[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return [float(value) for value in adjusted]


def _table(values: ArrayLike) -> Floats:
    """Return ``[seeds, cases]`` from ``[cases]`` or ``[seeds, cases]``."""
    table = np.atleast_2d(np.asarray(values, np.float64))
    if table.ndim != 2 or len(table) == 0:
        raise ValueError(f"values of shape {np.shape(values)}: must be [cases] or [seeds, cases]")
    if np.isinf(table).any():
        raise ValueError("values: must not be infinite; pass NaN where a value is undefined")
    return table


def _draw(tables: list[Floats], draws: int) -> Floats:
    """Return bootstrap samples ``[draws]`` of the mean of a table or the mean difference of two."""
    cases = tables[0].shape[1]
    if cases < 2:
        return np.empty(0)
    rng = np.random.default_rng(0)
    picked = rng.integers(cases, size=(draws, cases))
    drawn: dict[int, NDArray[np.int64]] = {}  # weights of seeds; equal for tables with as many seeds
    means = []
    for table in tables:
        seeds = len(table)
        if seeds not in drawn:
            drawn[seeds] = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
        by_case = (
            np.broadcast_to(table, picked.shape) if seeds == 1 else weighted_means(table, drawn[seeds])
        )
        means.append(np.take_along_axis(by_case, picked, axis=1))
    values = means[0] if len(means) == 1 else means[0] - means[1]
    # A draw skips cases without a value for its seeds; a draw without any case is dropped.
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0).sum(axis=1)
    return np.asarray(np.round(total[count > 0] / count[count > 0], DECIMALS))


def _interval(values: Floats, tables: list[Floats], confidence: float, draws: int) -> Interval:
    """Return the BCa interval with widened tails of the mean of ``values``, resampling ``tables``."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: must be in (0, 1), such as 0.95")
    if draws < 1:
        raise ValueError(f"draws={draws}: must be at least 1")
    n, drawn = len(values), _draw(tables, draws)
    mean = float(values.mean()) if n else float("nan")
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
    denominator = 1 - acceleration * z
    inside = denominator > 0  # beyond the pole of the BCa formula, the limit is the outermost sample
    adjusted = np.where(inside, bias + z / np.where(inside, denominator, 1), z * np.inf)
    low, high = np.quantile(drawn, special.ndtr(adjusted))
    return Interval(mean, float(low), float(high))
