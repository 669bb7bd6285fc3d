"""Coverage of 95 % intervals for skewed metrics such as HD95 and volume errors.

``python -m experiments.03_intervals.skewed`` prints the tables of this folder's README.
"""

from collections.abc import Callable
from importlib import import_module

import numpy as np
import scipy.stats

from kitsseg.evaluation import stats
from kitsseg.evaluation.stats import Floats

table = import_module("experiments.03_intervals.simulate").table
ROUNDS, DRAWS = 1000, 999
CASES = (8, 12, 42)
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
Limits = tuple[Floats, Floats]  # of each sample


def far(rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    """Return distances in mm, of which one in ten is that of a second structure far away."""
    return np.where(rng.random(size) < 0.1, rng.uniform(20, 100, size), rng.lognormal(1, 0.5, size))


def volume(rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    """Return volume errors: on average -10 % of a lognormal volume."""
    return rng.lognormal(0, 1.5, size) * rng.normal(-0.1, 0.2, size)


POPULATIONS: dict[str, tuple[Draw, float]] = {  # with their true means
    "exponential": (lambda rng, size: rng.exponential(1, size), 1.0),
    "lognormal, sd 1": (lambda rng, size: rng.lognormal(0, 1, size), float(np.exp(0.5))),
    "lognormal, sd 1.5": (lambda rng, size: rng.lognormal(0, 1.5, size), float(np.exp(1.125))),
    "HD95, 10 % far away": (far, float(0.9 * np.exp(1.125) + 0.1 * 60)),
    "volume error": (volume, float(-0.1 * np.exp(1.125))),
}


def kitsseg_mean(values: Floats) -> Limits:
    """Return the limits of kitsseg's interval of the mean."""
    found = [stats.mean_interval(sample, draws=DRAWS) for sample in values]
    return np.array([i.low for i in found]), np.array([i.high for i in found])


def johnson(values: Floats) -> Limits:
    """Return Student's interval, shifted by the skewness (Johnson, JASA 73, 1978)."""
    n, variance = values.shape[1], values.var(axis=1, ddof=1)
    centre = values.mean(axis=1) + scipy.stats.moment(values, 3, axis=1) / (6 * variance * n)
    half = scipy.stats.t.ppf(0.975, n - 1) * np.sqrt(variance / n)
    return centre - half, centre + half


def bootstrap_t(values: Floats) -> Limits:
    """Return the bootstrap-t interval of the mean."""
    rng, n = np.random.default_rng(0), values.shape[1]
    limits = []
    for sample in values:
        drawn = rng.choice(sample, (DRAWS, n))
        error = np.maximum(drawn.std(axis=1, ddof=1), 1e-9)
        high, low = np.quantile((drawn.mean(axis=1) - sample.mean()) / error, (0.025, 0.975))
        limits.append(sample.mean() - np.array([low, high]) * sample.std(ddof=1))
    low, high = np.transpose(limits)
    return low, high


def cox(values: Floats) -> Limits:
    """Return the interval of a lognormal mean with Student's t (Olsson, J. Stat. Educ. 13, 2005)."""
    logs, n = np.log(values), values.shape[1]
    mean, variance = logs.mean(axis=1), logs.var(axis=1, ddof=1)
    half = scipy.stats.t.ppf(0.975, n - 1) * np.sqrt(variance / n + variance**2 / (2 * (n - 1)))
    return np.exp(mean + variance / 2 - half), np.exp(mean + variance / 2 + half)


def pivotal(values: Floats) -> Limits:
    """Return the generalised interval of a lognormal mean (Krishnamoorthy, JSPI 115, 2003)."""
    rng, logs, n = np.random.default_rng(0), np.log(values), values.shape[1]
    z, chi2 = rng.normal(size=DRAWS), rng.chisquare(n - 1, DRAWS) / (n - 1)
    mean, variance = logs.mean(axis=1)[:, None], logs.var(axis=1, ddof=1)[:, None]
    drawn = mean - z * np.sqrt(variance / chi2 / n) + variance / chi2 / 2
    low, high = np.exp(np.quantile(drawn, (0.025, 0.975), axis=1))
    return low, high


def order_statistics(values: Floats) -> Limits:
    """Return the limits of kitsseg's interval of the median."""
    _, low, high = np.transpose([stats.median_interval(sample) for sample in values])
    return low, high


OF_MEAN = {
    "kitsseg": kitsseg_mean,
    "Johnson's t": johnson,
    "bootstrap-t": bootstrap_t,
    "Cox": cox,
    "pivotal": pivotal,
}


def main() -> None:
    """Print coverage, and the upper limits in units of the true value."""
    rng = np.random.default_rng(0)
    covered, upper = [], []
    for name, (draw, mean) in POPULATIONS.items():
        median = float(np.median(draw(rng, (1_000_000,))))
        for cases in CASES:
            values = draw(rng, (ROUNDS, cases))
            positive = bool((values > 0).all())
            kinds = {k: f for k, f in OF_MEAN.items() if positive or f not in (cox, pivotal)}
            found = {k: (f(values), mean) for k, f in kinds.items()}
            found["median"] = (order_statistics(values), median)
            shares = {k: np.mean((low <= t) & (t <= high)) for k, ((low, high), t) in found.items()}
            covered.append(
                [name, str(cases), *(f"{shares[k]:.3f}" if k in shares else "–" for k in HEAD)]
            )
            if positive:
                limits = (f"{np.median(high) / truth:.1f}" for (_, high), truth in found.values())
                upper.append([name, str(cases), *limits])
    for body in (covered, upper):
        table(["population", "cases", *HEAD], body)


HEAD = (*OF_MEAN, "median")

if __name__ == "__main__":
    main()
