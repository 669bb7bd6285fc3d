"""Coverage of the 95 % interval of the mean over sites.

Usage: python -m experiments.03_intervals.sites
"""

import numpy as np
from numpy.typing import NDArray

from kitsseg.reporting.sites.meta_analysis import combine_cases

Floats = NDArray[np.float64]
ROUNDS = 2000
MEAN, CONCENTRATION = 0.75, 2.8  # of the Dice of cases, Beta distributed within a site
CASES = (8, 40)  # least and most of a site
Z = 1.959964


def draw_sites(rng: np.random.Generator, sites: int, sd: float) -> tuple[list[Floats], float]:
    """Return the Dice of the cases of each site, and the true mean of a further site."""
    *means, other = np.clip(rng.normal(MEAN, sd, sites + 1), 0.55, 0.95)  # symmetric around MEAN
    sizes = rng.integers(CASES[0], CASES[1] + 1, sites)
    values = [
        rng.beta(CONCENTRATION * mean, CONCENTRATION * (1 - mean), size)
        for mean, size in zip(means, sizes, strict=True)
    ]
    return values, float(other)


def all_cases(values: list[Floats]) -> bool:
    """Return whether the interval over all cases, as if of one site, contains the mean."""
    pooled = np.concatenate(values)
    return bool(abs(pooled.mean() - MEAN) <= Z * pooled.std(ddof=1) / np.sqrt(len(pooled)))


def dersimonian_laird(values: list[Floats]) -> bool:
    """Return whether the usual interval of DerSimonian and Laird contains the mean."""
    y = np.array([each.mean() for each in values])
    v = np.array([each.var(ddof=1) / len(each) for each in values])
    w = 1 / v
    q = (w * (y - np.average(y, weights=w)) ** 2).sum()
    tau2 = max(0.0, (q - (len(y) - 1)) / (w.sum() - (w**2).sum() / w.sum()))
    w = 1 / (v + tau2)
    return bool(abs(np.average(y, weights=w) - MEAN) <= Z / np.sqrt(w.sum()))


def coverage(sites: int, sd: float, rng: np.random.Generator) -> list[float]:
    """Return how often three intervals contain the mean, and one the mean of a further site."""
    hits = []
    for _ in range(ROUNDS):
        values, other = draw_sites(rng, sites, sd)
        found = combine_cases(values)
        inside = found.mean.low <= MEAN <= found.mean.high
        new = found.new_site.low <= other <= found.new_site.high
        hits.append((all_cases(values), dersimonian_laird(values), inside, new))
    return [float(share) for share in np.mean(hits, axis=0)]


def main() -> None:
    rng = np.random.default_rng(0)
    print(
        "| sites | sd between sites | all cases as one site | DerSimonian-Laird | kitsseg | new site |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for sites in (3, 5, 10):
        for sd in (0.0, 0.03, 0.08):
            cells = (f"{share:.3f}" for share in coverage(sites, sd, rng))
            print(f"| {sites} | {sd} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
