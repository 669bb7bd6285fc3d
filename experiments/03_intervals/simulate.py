"""Simulate the coverage of intervals of the mean, and how often equal recipes seem to differ.

``python -m experiments.03_intervals.simulate`` prints the tables of this folder's README.
"""

from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import numpy.typing as npt
import scipy.stats

from kitsseg.evaluation import stats

ROUNDS, DRAWS = 2000, 1999  # repetitions per row, bootstrap samples per interval
SEED_SD = (0.0, 0.01, 0.04)  # standard deviations between seeds
CASES = (12, 42)
Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]
Interval = Callable[[Floats], tuple[float, float]]


def missed(rng: np.random.Generator, n: int) -> Floats:
    """Return the Dice of ``n`` tumours, one in five of which is missed."""
    return np.where(rng.random(n) < 0.2, 0.0, rng.beta(5, 1.5, n))


# Dice-like values that are skewed towards low ones, and their true means.
POPULATIONS: dict[str, tuple[Draw, float]] = {
    "Beta(18, 1)": (lambda rng, n: rng.beta(18, 1, n), 18 / 19),
    "Beta(2, 0.8)": (lambda rng, n: rng.beta(2, 0.8, n), 2 / 2.8),
    "0.2 at 0, 0.8 Beta(5, 1.5)": (missed, 0.8 * 5 / 6.5),
}


def percentile(values: Floats, method: str = "percentile") -> tuple[float, float]:
    """Return SciPy's interval of the mean over cases of ``[seeds, cases]``, resampling cases."""
    interval = scipy.stats.bootstrap(
        (stats.case_means(values),), np.mean, method=method, n_resamples=DRAWS, rng=0
    ).confidence_interval
    return float(interval.low), float(interval.high)


def bca(values: Floats) -> tuple[float, float]:
    """Return SciPy's BCa interval of the mean over cases."""
    return percentile(values, "BCa")


def student(values: Floats) -> tuple[float, float]:
    """Return the interval by Student's t of the mean over cases."""
    means = stats.case_means(values)
    half = scipy.stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return float(means.mean() - half), float(means.mean() + half)


def cases_only(values: Floats) -> tuple[float, float]:
    """Return kitsseg's interval if only cases are resampled."""
    return kitsseg_interval(stats.case_means(values))


def kitsseg_interval(values: Floats) -> tuple[float, float]:
    """Return kitsseg's interval of the mean over cases."""
    interval = stats.mean_interval(values, draws=DRAWS)
    return interval.low, interval.high


def coverage(draw: Callable[[], Floats], truth: float, kinds: list[Interval]) -> list[float]:
    """Return the proportion of intervals of each kind that contain the true mean."""
    contained = np.zeros(len(kinds))
    for _ in range(ROUNDS):
        values = draw()
        contained += [low <= truth <= high for low, high in (kind(values) for kind in kinds)]
    return [float(share) for share in contained / ROUNDS]


def draw_one_seed(rng: np.random.Generator, draw: Draw, cases: int) -> Floats:
    """Return ``[1, cases]`` from one population."""
    return draw(rng, cases)[None]


def draw_crossed(rng: np.random.Generator, seeds: int, cases: int, seed_sd: float) -> Floats:
    """Return ``[seeds, cases]``: difficulty of the case + effect of the seed + noise."""
    effect = rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, 0.1, (seeds, cases))
    values: Floats = rng.beta(2, 0.8, cases) + effect
    return values


def false_positives(rng: np.random.Generator, n: int, seed_sd: float) -> tuple[float, float]:
    """Return how often p < 0.05 and how often the interval excludes 0, for two runs of one recipe."""
    positives = np.zeros(2)
    for _ in range(ROUNDS):
        cases = rng.beta(2, 0.8, n)
        a, b = (
            np.clip(cases + rng.normal(0, seed_sd, (1, 1)) + rng.normal(0, 0.1, (1, n)), 0, 1)
            for _ in "ab"
        )
        test = stats.paired(a, b, draws=DRAWS)
        positives += [test.p < 0.05, not test.difference.low <= 0 <= test.difference.high]
    return float(positives[0] / ROUNDS), float(positives[1] / ROUNDS)


def table(head: list[str], body: list[list[str]]) -> None:
    """Print a Markdown table."""
    for line in [head, ["---"] * len(head), *body]:
        print("| " + " | ".join(line) + " |", flush=True)
    print()


def _shares(values: list[float] | tuple[float, float]) -> list[str]:
    return [f"{share:.3f}" for share in values]


def main() -> None:
    """Print the three tables."""
    rng = np.random.default_rng(0)
    kinds: list[Interval] = [percentile, bca, student, kitsseg_interval]
    body = []
    for name, (draw, truth) in POPULATIONS.items():
        for n in (6, *CASES):
            shares = coverage(partial(draw_one_seed, rng, draw, n), truth, kinds)
            body.append([name, str(n), *_shares(shares)])
    table(["population", "cases", "percentile", "BCa", "Student's t", "kitsseg"], body)

    body = []
    kinds = [cases_only, kitsseg_interval]
    for seeds, n, sd in product((2, 3, 5), CASES, SEED_SD):
        shares = coverage(partial(draw_crossed, rng, seeds, n, sd), 2 / 2.8, kinds)
        body.append([str(seeds), str(n), f"{sd}", *_shares(shares)])
    head = ["seeds", "cases", "sd between seeds"]
    table([*head, "cases resampled", "cases and seeds resampled (kitsseg)"], body)

    body = []
    for n, sd in product(CASES, SEED_SD):
        body.append([str(n), f"{sd}", *_shares(false_positives(rng, n, sd))])
    table([*head[1:], "p < 0.05", "interval excludes 0"], body)


if __name__ == "__main__":
    main()
