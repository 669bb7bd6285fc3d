"""Random-effects meta-analysis: one mean of several sites that differ.

The mean of a site is the sum of a common mean, an effect of the site with the variance tau², and an
error with a known variance. tau² is the estimate of Paule and Mandel (J. Res. Natl. Bur. Stand. 87,
1982). The interval of the common mean is that of Hartung and Knapp (Stat. Med. 20, 2001), based on
Student's t with one degree of freedom less than sites. It is never narrower than the
uncorrected interval (Röver, Knapp and Friede, BMC Med. Res. Methodol. 15, 2015), since few sites
can agree by chance. The interval of a new site is that of Higgins, Thompson and Spiegelhalter (J. R.
Stat. Soc. A 172, 2009). experiments/03_intervals measures the coverage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from kitsseg.evaluation.stats import CONFIDENCE, Interval

Floats = NDArray[np.float64]
SMALLEST = 1e-12  # variance between cases, so that equal cases have a weight


@dataclass(frozen=True)
class Combined:
    """The common mean of several sites.

    Attributes:
        mean: the common mean with its interval.
        new_site: interval of the true mean of another site; NaN limits for fewer than three sites.
        tau: standard deviation of the true means of sites.
        i2: share of the variance of the means that is not explained by their errors, from 0 to 1
            (Higgins and Thompson, Stat. Med. 21, 2002).
    """

    mean: Interval
    new_site: Interval
    tau: float
    i2: float


def combine_means(means: ArrayLike, variances: ArrayLike) -> Combined:
    """Return the common mean of two or more sites from their means and the variances of these.

    Both are ``[sites]`` and finite, the variances above 0.
    """
    y, v = np.asarray(means, np.float64), np.asarray(variances, np.float64)
    sites = len(y)
    heterogeneity = _weighted(y, v, 0.0)[1]
    tau2 = _paule_mandel(y, v)
    mean, spread, weight = _weighted(y, v, tau2)
    error2 = max(1.0, spread / (sites - 1)) / weight
    common = _interval(mean, error2, sites - 1)
    other = _interval(mean, tau2 + error2, sites - 2)
    i2 = max(0.0, 1 - (sites - 1) / heterogeneity) if heterogeneity > 0 else 0.0
    return Combined(common, other, float(np.sqrt(tau2)), i2)


def _weighted(y: Floats, v: Floats, tau2: float) -> tuple[float, float, float]:
    """Return the weighted mean, the weighted sum of squares around it, and the sum of weights."""
    weights = 1 / (v + tau2)
    mean = float(np.average(y, weights=weights))
    return mean, float((weights * (y - mean) ** 2).sum()), float(weights.sum())


def _paule_mandel(y: Floats, v: Floats) -> float:
    """Return the tau² at which the weighted sum of squares is its expectation, or 0 if it is below."""

    def excess(tau2: float) -> float:
        return _weighted(y, v, tau2)[1] - (len(y) - 1)

    if excess(0.0) <= 0:
        return 0.0
    highest = float(y.var(ddof=1))  # there the sum of squares is at most its expectation
    return float(optimize.brentq(excess, 0.0, highest)) if excess(highest) < 0 else highest


def _interval(mean: float, variance: float, freedom: int) -> Interval:
    if freedom < 1:
        return Interval(mean, float("nan"), float("nan"))
    half = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * np.sqrt(variance))
    return Interval(mean, mean - half, mean + half)


def combine_cases(values: Sequence[ArrayLike]) -> Combined:
    """Return the common mean of two or more sites from the values of their cases.

    The values are ``[cases]`` per site without NaN. Each site has a case, and one site has two. The
    variance between the cases of a site is pooled over all sites. Separate variances would give too much
    weight to sites with few, similar cases, which tend to have a high Dice.
    """
    sites = [np.asarray(value, np.float64) for value in values]
    freedom = sum(len(site) - 1 for site in sites)
    pooled = sum(float(((site - site.mean()) ** 2).sum()) for site in sites) / freedom
    variances = [max(pooled, SMALLEST) / len(site) for site in sites]
    return combine_means([site.mean() for site in sites], variances)
