"""A mean over cases and seeds, both of which are samples.

The values ``[seeds, cases]`` are the sum of a mean, an effect of the case, an effect of the seed, and a
rest (two-way random effects without replication: Searle, Casella and McCulloch, *Variance Components*,
1992, section 4.2). The variance of the mean follows from the mean squares. Each of its parts has its own
Student's t, with the degrees of freedom of cases or of seeds. With few seeds that differ, the interval
is therefore wide, however many cases there are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares ``[...]`` of tables ``[..., seeds, cases]``, and the number of both."""

    case: Floats
    seed: Floats
    rest: Floats
    seeds: int
    cases: int

    @property
    def variances(self) -> tuple[Floats, Floats, Floats]:
        """Variances of the effect of the case, of the effect of the seed, and of the rest."""
        case = np.maximum(0, self.case - self.rest) / self.seeds
        return case, np.maximum(0, self.seed - self.rest) / self.cases, self.rest


def mean_squares(tables: Floats) -> MeanSquares:
    """Return the mean squares of ``[..., seeds, cases]`` without NaN; two of each are needed."""
    seeds, cases = tables.shape[-2:]
    by_case, by_seed = tables.mean(axis=-2), tables.mean(axis=-1)
    mean = by_case.mean(axis=-1)[..., None, None]
    rest = tables - by_case[..., None, :] - by_seed[..., None] + mean
    return MeanSquares(
        case=np.asarray(seeds * by_case.var(axis=-1, ddof=1)),
        seed=np.asarray(cases * by_seed.var(axis=-1, ddof=1)),
        rest=np.asarray((rest**2).sum(axis=(-2, -1)) / ((seeds - 1) * (cases - 1))),
        seeds=seeds,
        cases=cases,
    )


def half_width(tables: Floats, confidence: float) -> Floats:
    """Return half the width ``[...]`` of the interval of the mean of ``[..., seeds, cases]``.

    The squared half widths are added: Student's over cases, and Student's for the variance that seeds
    add (Howe, JASA 69, 1974). The interval is never narrower than Student's over the means of the seeds:
    if few seeds are alike by chance, their variance is underestimated. experiments/03_intervals has its
    coverage.
    """
    found = mean_squares(tables)
    of_case, of_seed = (special.stdtrit(n - 1, (1 + confidence) / 2) for n in (found.cases, found.seeds))
    added = np.maximum(0, found.seed - found.rest)
    square = np.maximum(of_case**2 * found.case + of_seed**2 * added, of_seed**2 * found.seed)
    return np.asarray(np.sqrt(square / (found.seeds * found.cases)))
