"""Simulate how often each verdict is given, for known differences between two recipes.

``python -m experiments.03_intervals.verdicts`` prints the table of this folder's README.
"""

from collections import Counter
from importlib import import_module
from itertools import product

import numpy as np

from kitsseg.evaluation import stats
from kitsseg.reporting.comparisons import MARGIN, decide

table = import_module("experiments.03_intervals.simulate").table
ROUNDS, DRAWS = 1000, 999
NOISE_SD = 0.05  # of one case and seed
VERDICTS = ("better", "worse", "equivalent", "undecided")


def verdict(rng: np.random.Generator, gain: float, seeds: int, n: int, seed_sd: float) -> str:
    """Return the verdict on two sweeps; the mean of the first recipe is ``gain`` higher."""
    cases = rng.beta(2, 0.8, n)
    a, b = (
        cases + more + rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, NOISE_SD, (seeds, n))
        for more in (gain, 0.0)
    )
    found = stats.paired(a, b, draws=DRAWS)
    narrow = stats.paired(a, b, confidence=0.9, draws=DRAWS).difference
    return decide(found.difference, narrow, found.p, seeds, MARGIN)


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    body = []
    for gain, seeds, n, sd in product((0.0, MARGIN, 0.05), (2, 3, 5), (12, 42), (0.0, 0.01)):
        counts = Counter(verdict(rng, gain, seeds, n, sd) for _ in range(ROUNDS))
        shares = [f"{counts[name] / ROUNDS:.3f}" for name in VERDICTS]
        body.append([f"{gain:g}", str(seeds), str(n), f"{sd:g}", *shares])
    table(["true difference", "seeds", "cases", "sd between seeds", *VERDICTS], body)


if __name__ == "__main__":
    main()
