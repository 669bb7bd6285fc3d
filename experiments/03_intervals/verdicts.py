"""Simulate the intervals of differences between two recipes, and how often each verdict is given.

``python -m experiments.03_intervals.verdicts`` prints the tables of this folder's README.
"""

from collections import Counter
from importlib import import_module
from itertools import product

import numpy as np

from kitsseg.evaluation import stats
from kitsseg.evaluation.stats import Floats, Interval
from kitsseg.reporting.comparisons import MARGIN, decide

table = import_module("experiments.03_intervals.simulate").table
ROUNDS, DRAWS = 2000, 999
SIZES = tuple(product((2, 3, 5), (12, 42), (0.0, 0.01, 0.04)))  # seeds, cases, sd between seeds
VERDICTS = ("better", "worse", "equivalent", "undecided")


def differences(rng: np.random.Generator, kind: str, seeds: int, cases: int, seed_sd: float) -> Floats:
    """Return ``[seeds, cases]`` with mean 0: difference by case, two seeds' effects, and noise.

    The difference by case is normal with a standard deviation of 0.05, or 0 but for one case in five,
    which one of the models misses by 0.1 to 0.5.
    """
    by_case = rng.normal(0, 0.05, cases)
    if kind == "rare":
        missed = rng.random(cases) < 0.2
        by_case = np.where(missed, rng.choice([-1, 1], cases) * rng.uniform(0.1, 0.5, cases), 0)
    effects = rng.normal(0, seed_sd * np.sqrt(2), (seeds, 1)) + rng.normal(0, 0.07, (seeds, cases))
    drawn: Floats = by_case + effects
    return drawn


def bootstrap(values: Floats, confidence: float) -> Interval:
    """Return the interval that resamples cases and seeds."""
    return stats.mean_interval(values, confidence, DRAWS)


def contains(interval: Interval, truth: float = 0.0) -> bool:
    return interval.low <= truth <= interval.high


def main() -> None:
    """Print both tables."""
    rng = np.random.default_rng(0)
    body = []
    for kind, (seeds, cases, sd) in product(("normal", "rare"), SIZES):
        counts = np.zeros(3)
        for _ in range(ROUNDS):
            values = differences(rng, kind, seeds, cases, sd)
            test = stats.paired(values, np.zeros_like(values))
            found = bootstrap(values, 0.95), test.difference
            counts += [*map(contains, found), test.p >= 0.05]
        body.append([kind, str(seeds), str(cases), f"{sd:g}", *(f"{n / ROUNDS:.3f}" for n in counts)])
    head = ["differences", "seeds", "cases", "sd between seeds"]
    table([*head, "bootstrap", "random effects (kitsseg)", "p >= 0.05"], body)

    body = []
    for gain, (seeds, cases, sd) in product((0.0, MARGIN, 0.05), SIZES):
        verdicts: Counter[str] = Counter()
        for _ in range(ROUNDS):
            values = differences(rng, "normal", seeds, cases, sd) + gain
            test = stats.paired(values, np.zeros_like(values))
            narrow = stats.paired(values, np.zeros_like(values), confidence=0.9).difference
            verdicts[decide(test.difference, narrow, test.p, seeds, MARGIN)] += 1
        shares = [f"{verdicts[name] / ROUNDS:.3f}" for name in VERDICTS]
        body.append([f"{gain:g}", str(seeds), str(cases), f"{sd:g}", *shares])
    table(["true difference", *head[1:], *VERDICTS], body)


if __name__ == "__main__":
    main()
