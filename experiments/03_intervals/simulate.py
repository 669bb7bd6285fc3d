"""How often intervals hold the true mean, and how often equal models seem to differ: by simulation.

``python -m experiments.03_intervals.simulate`` prints the tables of this folder's README.
"""

from collections.abc import Callable

import numpy as np
import scipy.stats

from kitsseg.evaluation import stats

ROUNDS, DRAWS = 2000, 1999
Draw = Callable[[np.random.Generator, int], np.ndarray]


def missed(rng: np.random.Generator, n: int) -> np.ndarray:
    """Tumours of which one in five is not found."""
    return np.where(rng.random(n) < 0.2, 0.0, rng.beta(5, 1.5, n))


# Dice-like values, skewed towards low ones, and their true means.
POPULATIONS: dict[str, tuple[Draw, float]] = {
    "Beta(18, 1)": (lambda rng, n: rng.beta(18, 1, n), 18 / 19),
    "Beta(2, 0.8)": (lambda rng, n: rng.beta(2, 0.8, n), 2 / 2.8),
    "0.2 at 0, 0.8 Beta(5, 1.5)": (missed, 0.8 * 5 / 6.5),
}


def percentile(values: np.ndarray, method: str = "percentile") -> tuple[float, float]:
    """SciPy's interval of the mean over cases of ``[seeds, cases]``, cases drawn anew."""
    found = scipy.stats.bootstrap(
        (stats.case_means(values),), np.mean, method=method, n_resamples=DRAWS, rng=0
    ).confidence_interval
    return found.low, found.high


def bca(values: np.ndarray) -> tuple[float, float]:
    """SciPy's BCa interval."""
    return percentile(values, "BCa")


def student(values: np.ndarray) -> tuple[float, float]:
    """Student's interval."""
    means = stats.case_means(values)
    half = scipy.stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return means.mean() - half, means.mean() + half


def cases_only(values: np.ndarray) -> tuple[float, float]:
    """kitsseg's interval if it didn't draw seeds anew."""
    return ours(stats.case_means(values))


def ours(values: np.ndarray) -> tuple[float, float]:
    """kitsseg's interval."""
    found = stats.mean_interval(values, draws=DRAWS)
    return found.low, found.high


def coverage(draw: Callable[[], np.ndarray], truth: float, kinds: list[Callable]) -> list[float]:
    """Share of intervals of each kind that held the true mean."""
    held = np.zeros(len(kinds))
    for _ in range(ROUNDS):
        values = draw()
        held += [low <= truth <= high for low, high in (kind(values) for kind in kinds)]
    return [float(share) for share in held / ROUNDS]


def crossed(rng: np.random.Generator, seeds: int, n: int, seed_sd: float) -> np.ndarray:
    """``[seeds, cases]``: a case's difficulty, the seed's luck, and what both do together."""
    luck = rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, 0.1, (seeds, n))
    return rng.beta(2, 0.8, n) + luck


def false_positives(rng: np.random.Generator, seeds: int, n: int, seed_sd: float) -> tuple[float, float]:
    """How often p < 0.05, and the interval excludes 0, for two runs of one recipe."""
    seen = np.zeros(2)
    for _ in range(ROUNDS):
        cases = rng.beta(2, 0.8, n)
        a, b = (
            np.clip(cases + rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, 0.1, (seeds, n)), 0, 1)
            for _ in "ab"
        )
        found = stats.paired(a, b, draws=DRAWS)
        seen += [found.p < 0.05, not found.difference.low <= 0 <= found.difference.high]
    return float(seen[0] / ROUNDS), float(seen[1] / ROUNDS)


def table(head: list[str], body: list[list[str]]) -> None:
    """Print Markdown."""
    for line in [head, ["---"] * len(head), *body]:
        print("| " + " | ".join(line) + " |", flush=True)
    print()


def main() -> None:
    """All three tables."""
    rng = np.random.default_rng(0)
    kinds = [percentile, bca, student, ours]
    body = []
    for name, (draw, truth) in POPULATIONS.items():
        for n in (6, 12, 42):
            shares = coverage(lambda draw=draw, n=n: draw(rng, n)[None], truth, kinds)
            body.append([name, str(n), *(f"{share:.3f}" for share in shares)])
    table(["population", "cases", "percentile", "BCa", "Student's t", "kitsseg"], body)

    body = []
    for seeds in (2, 3, 5):
        for n in (12, 42):
            for sd in (0.0, 0.01, 0.04):
                shares = coverage(
                    lambda s=seeds, n=n, sd=sd: crossed(rng, s, n, sd), 2 / 2.8, [cases_only, ours]
                )
                body.append([str(seeds), str(n), f"{sd}", *(f"{share:.3f}" for share in shares)])
    table(["seeds", "cases", "sd between seeds", "cases drawn", "cases and seeds drawn (kitsseg)"], body)

    body = []
    for seeds in (1, 3):
        for n in (12, 42):
            for sd in (0.0, 0.01, 0.04):
                shares = false_positives(rng, seeds, n, sd)
                body.append([str(seeds), str(n), f"{sd}", *(f"{share:.3f}" for share in shares)])
    table(["seeds", "cases", "sd between seeds", "p < 0.05", "interval excludes 0"], body)


if __name__ == "__main__":
    main()
