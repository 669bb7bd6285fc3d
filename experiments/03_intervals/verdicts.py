"""Simulate the intervals of differences between two recipes, and how often each verdict is given.

``python -m experiments.03_intervals.verdicts`` prints the tables of this folder's README.
"""

from collections import Counter
from importlib import import_module
from itertools import product

import numpy as np

from kitsseg.evaluation import random_effects, stats
from kitsseg.evaluation.stats import Floats, Interval
from kitsseg.reporting.comparisons import MARGIN, decide

table = import_module("experiments.03_intervals.simulate").table
ROUNDS = 2000  # repetitions per row
BOOTSTRAPS, DRAWS = 400, 299  # repetitions of the bootstrap and of p, bootstrap samples
SIZES = tuple(product((2, 3, 5), (12, 42), (0.0, 0.01, 0.04)))  # seeds, cases, sd between seeds


def differences(
    rng: np.random.Generator, kind: str, shape: tuple[int, int, int], seed_sd: float
) -> Floats:
    """Return ``[studies, seeds, cases]`` with mean 0: difference by case, two seeds' effects, and noise.

    The difference by case is normal with a standard deviation of 0.05, or 0 but for one case in five,
    which one of the models misses by 0.1 to 0.5.
    """
    studies, seeds, cases = shape
    by_case = rng.normal(0, 0.05, (studies, 1, cases))
    if kind == "rare":
        missed = rng.random(by_case.shape) < 0.2
        size = rng.choice([-1, 1], by_case.shape) * rng.uniform(0.1, 0.5, by_case.shape)
        by_case = np.where(missed, size, 0)
    by_seed = rng.normal(0, seed_sd * np.sqrt(2), (studies, seeds, 1))
    drawn: Floats = by_case + by_seed + rng.normal(0, 0.07, shape)
    return drawn


def bootstrap(values: Floats, confidence: float) -> Interval:
    """Return the interval that resamples cases and seeds."""
    return stats.mean_interval(values, confidence, DRAWS)


def contains(interval: Interval, truth: float = 0.0) -> bool:
    return interval.low <= truth <= interval.high


def intervals(drawn: Floats, confidence: float) -> list[Interval]:
    """Return kitsseg's interval of each of ``[studies, seeds, cases]``."""
    halves = random_effects.half_width(drawn, confidence)
    means = drawn.mean(axis=(1, 2))
    return [Interval(m, m - half, m + half) for m, half in zip(means, halves, strict=True)]


def verdicts(drawn: Floats) -> Counter[str]:
    """Return how often each verdict is given on ``[studies, seeds, cases]``."""
    given: Counter[str] = Counter()
    found = zip(drawn, intervals(drawn, 0.95), intervals(drawn, 0.9), strict=True)
    for study, wide, narrow in found:
        differs = not contains(wide)  # p matters only then
        p = stats.signed_rank(study.mean(axis=0))[0] if differs else 1.0
        given[decide(wide, narrow, p, len(study), MARGIN)] += 1
    return given


def main() -> None:
    """Print both tables."""
    rng = np.random.default_rng(0)
    body = []
    for kind, (seeds, cases, sd) in product(("normal", "rare"), SIZES):
        drawn = differences(rng, kind, (ROUNDS, seeds, cases), sd)
        resampled = [contains(bootstrap(study, 0.95)) for study in drawn[:BOOTSTRAPS]]
        covers = [contains(interval) for interval in intervals(drawn, 0.95)]
        not_significant = [
            stats.signed_rank(study.mean(axis=0))[0] >= 0.05 for study in drawn[:BOOTSTRAPS]
        ]
        shares = (np.mean(share) for share in (resampled, covers, not_significant))
        body.append([kind, str(seeds), str(cases), f"{sd:g}", *(f"{share:.3f}" for share in shares)])
    head = ["differences", "seeds", "cases", "sd between seeds"]
    table([*head, "bootstrap", "random effects (kitsseg)", "p >= 0.05"], body)

    body = []
    for kind, (seeds, cases, sd) in product(("normal", "rare"), SIZES):
        drawn = differences(rng, kind, (ROUNDS, seeds, cases), sd)
        none, margin, large = (verdicts(drawn + gain) for gain in (0.0, MARGIN, 0.05))
        counts = (
            none["better"] + none["worse"],
            margin["equivalent"],
            large["better"],
            none["equivalent"],
        )
        body.append([kind, str(seeds), str(cases), f"{sd:g}", *(f"{n / ROUNDS:.3f}" for n in counts)])
    shown = ("better or worse at 0", f"equivalent at {MARGIN:g}", "better at 0.05", "equivalent at 0")
    table([*head, *shown], body)


if __name__ == "__main__":
    main()
