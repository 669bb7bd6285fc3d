"""A mean over cases and seeds, both of which are samples.

The values ``[seeds, cases]`` are the sum of a mean, an effect of the case, an effect of the seed, and a
rest (two-way random effects without replication: Searle, Casella and McCulloch, *Variance Components*,
1992, section 4.2). The variance of the mean follows from the mean squares, and its degrees of freedom
from Satterthwaite (Biometrics Bulletin 2, 1946). With many cases and few seeds that differ, the degrees
of freedom are few, as they should be.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares of ``[seeds, cases]``, and the number of both."""

    case: float
    seed: float
    rest: float
    seeds: int
    cases: int

    @property
    def variances(self) -> tuple[float, float, float]:
        """Variances of the effect of the case, of the effect of the seed, and of the rest."""
        case = max(0.0, self.case - self.rest) / self.seeds
        return case, max(0.0, self.seed - self.rest) / self.cases, self.rest


def mean_squares(table: Floats) -> MeanSquares:
    """Return the mean squares of ``[seeds, cases]`` without NaN; at least two of each are needed."""
    seeds, cases = table.shape
    by_case, by_seed = table.mean(axis=0), table.mean(axis=1)
    rest = table - by_case - by_seed[:, None] + table.mean()
    return MeanSquares(
        case=seeds * float(by_case.var(ddof=1)),
        seed=cases * float(by_seed.var(ddof=1)),
        rest=float((rest**2).sum()) / ((seeds - 1) * (cases - 1)),
        seeds=seeds,
        cases=cases,
    )


def half_width(table: Floats, confidence: float) -> float:
    """Return half the width of the interval of the mean of ``[seeds, cases]`` without NaN."""
    found = mean_squares(table)
    # Without an effect of the case, the mean square of the seed is the variance, and conversely.
    total = max(found.case, found.seed, found.case + found.seed - found.rest)
    if total == 0:
        return 0.0
    seeds, cases = found.seeds - 1, found.cases - 1
    spread = found.case**2 / cases + found.seed**2 / seeds + found.rest**2 / (cases * seeds)
    freedom = max(min(seeds, cases), total**2 / spread)
    width = special.stdtrit(freedom, (1 + confidence) / 2) * np.sqrt(total / table.size)
    return float(width)
