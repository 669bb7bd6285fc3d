"""Coverage of 95 % intervals for skewed metrics such as HD95 and volume errors.

Usage: python -m experiments.03_intervals.skewed
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kitsseg.evaluation.stats import mean_interval

REPETITIONS, DRAWS = 2000, 999
Population = Callable[[int], NDArray[np.float64]]


def coverage(draw: Population, mean: float, cases: int) -> float:
    """Return the share of samples whose interval contains the true mean."""
    found = [mean_interval(draw(cases), draws=DRAWS) for _ in range(REPETITIONS)]
    return float(np.mean([interval.low <= mean <= interval.high for interval in found]))


def main() -> None:
    rng = np.random.default_rng(0)
    populations: dict[str, tuple[Population, float]] = {
        "lognormal, sd 1": (lambda n: rng.lognormal(0, 1, n), float(np.exp(0.5))),
        "exponential": (lambda n: rng.exponential(1, n), 1.0),
        "lognormal, sd 1.5": (lambda n: rng.lognormal(0, 1.5, n), float(np.exp(1.125))),
    }
    print("| population | cases | kitsseg |\n| --- | --- | --- |")
    for name, (draw, mean) in populations.items():
        for cases in (8, 12):
            print(f"| {name} | {cases} | {coverage(draw, mean, cases):.3f} |")


if __name__ == "__main__":
    main()
