"""How many cases and seeds a comparison of two models needs.

A pilot gives the differences between two models for each seed and case. They are modelled as the sum of
a mean, an effect of the case, an effect of the seed, and a residual (see `random_effects`). New studies
are simulated from these effects, and tested by interval and Wilcoxon test as in tables with a single
comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kitsseg.evaluation import random_effects, stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Effects:
    """The parts of a difference between two models.

    Attributes:
        cases: effect of each case of the pilot ``[cases]``; its mean is 0.
        seed_sd: standard deviation between seeds.
        rest_sd: standard deviation of what neither the case nor the seed explains.
    """

    cases: Floats
    seed_sd: float
    rest_sd: float

    @property
    def case_sd(self) -> float:
        """Standard deviation between cases."""
        return float(self.cases.std())


def estimate(differences: ArrayLike) -> Effects:
    """Return the effects in the differences ``[seeds, cases]`` of a pilot with two or more seeds.

    NaN marks undefined values. Only cases with a value for every seed are used. The effects of the
    cases are shrunk, so that their variance is the estimated one.

    Raises:
        ValueError: fewer than four cases have a value for every seed, or all differences are equal.
    """
    table = np.asarray(differences, np.float64)
    table = table[:, ~np.isnan(table).any(axis=0)]
    if (cases := table.shape[1]) < 4:
        raise ValueError(f"the pilot has {cases} cases with a value in every run: at least 4 are needed")
    if np.ptp(table.round(stats.DECIMALS)) == 0:
        raise ValueError(
            f"the models differ by {table[0, 0]:g} in every case and run of the pilot, so it does not "
            "show how much differences vary; use a pilot in which both models have learned the region"
        )
    case, seed, rest = random_effects.mean_squares(table).variances
    centred = table.mean(axis=0) - table.mean()
    spread = float(centred.std())
    shrunk = centred * (np.sqrt(case) / spread) if spread > 0 else centred
    return Effects(shrunk, float(np.sqrt(seed)), float(np.sqrt(rest)))


def draw(effects: Effects, gain: float, shape: tuple[int, int, int], rng: np.random.Generator) -> Floats:
    """Return the differences ``[studies, seeds, cases]`` of new studies, whose true mean is ``gain``."""
    studies, seeds, cases = shape
    by_case = rng.choice(effects.cases, (studies, 1, cases))
    by_seed = rng.normal(0, effects.seed_sd, (studies, seeds, 1))
    drawn: Floats = gain + by_case + by_seed + rng.normal(0, effects.rest_sd, shape)
    return drawn


def count_found(differences: Floats, is_gain: bool) -> int:
    """Return in how many of ``[studies, seeds, cases]`` `stats.paired` finds a difference.

    The 95 % interval excludes 0 on the right side and p is below 0.05.
    """
    means = differences.mean(axis=(1, 2)) * (1 if is_gain else -1)
    excluding = differences[means > random_effects.half_width(differences, stats.CONFIDENCE)]
    return sum(stats.signed_rank(study.mean(axis=0))[0] < 0.05 for study in excluding)


def power(
    effects: Effects, gain: float, seeds: int, cases: int, studies: int, rng: np.random.Generator
) -> float:
    """Return the share of ``studies`` that find a true difference of ``gain``: see `count_found`."""
    return count_found(draw(effects, gain, (studies, seeds, cases), rng), gain > 0) / studies


def smallest(powers: Sequence[float], cases: Sequence[int], aim: float) -> int | None:
    """Return the number of ``cases`` from which on ``powers`` are at least ``aim``; None if none are."""
    found = (number for i, number in enumerate(cases) if min(powers[i:]) >= aim)
    return next(found, None)
