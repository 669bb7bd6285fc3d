"""Estimate the optimism of choosing the best epoch and recipe on the validation cases.

Means over cases choose the epoch of each run and the best recipe, so part of their lead is luck. The
bootstrap repeats both choices: they are made on a sample of the cases, drawn with replacement, and
evaluated on the cases that the sample lacks. The mean over samples estimates what the chosen recipe
achieves on new cases (Tsamardinos, Greasidou and Borboudakis, Machine Learning 107, 2018; the
leave-one-out bootstrap of Efron, JASA 78, 1983). experiments/03_intervals compares its bias with that of
other estimators.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kitsseg.evaluation.stats import case_means, weighted_means

DRAWS = 1999

Floats = NDArray[np.float64]


class Choice(NamedTuple):
    """The choice of one of several candidates, such as the epochs of a run.

    Attributes:
        values: the metric to report, ``[cases, candidates]``, NaN where undefined.
        monitored: ``[cases, candidates]``; the candidate with the best mean is chosen, the first of
            equal ones.
        mode: ``max`` or ``min``: which mean is the best.
    """

    values: Floats
    monitored: Floats
    mode: str = "max"


def optimism(recipes: Sequence[Sequence[Choice]], draws: int = DRAWS) -> float:
    """Return the optimism: the mean of the best recipe minus its estimated mean on new cases.

    Args:
        recipes: the choices of the runs of each recipe, all with the same cases. The mean of a recipe is
            the mean over its runs, and the recipe with the largest mean is the best.
        draws: number of bootstrap samples.

    Returns:
        The optimism in the unit of the values; by chance, it can be below 0. It is 0 if there is nothing
        to choose, and NaN if fewer than two cases have a value.
    """
    runs = [run for recipe in recipes for run in recipe]
    known = np.any([~np.isnan(run.values).all(axis=1) for run in runs], axis=0)
    if (cases := int(known.sum())) < 2:
        return float("nan")
    if len(recipes) == 1 and all(run.values.shape[1] == 1 for run in runs):
        return 0.0
    drawn = np.random.default_rng(0).multinomial(cases, np.full(cases, 1 / cases), size=draws)
    samples = drawn[(drawn == 0).any(axis=1)]
    weights = np.vstack([np.ones(cases), samples]).astype(np.float64)  # all cases, then the samples
    found = [[_repeat(run, known, weights) for run in recipe] for recipe in recipes]
    means = np.array([[case_means(part) for part in zip(*recipe, strict=True)] for recipe in found])
    best = np.where(np.isnan(means[:, 0]), -np.inf, means[:, 0]).argmax(axis=0)
    seen, left_out = means[best, :, np.arange(len(weights))].T
    return float(seen[0] - np.nanmean(left_out[1:]))


def _repeat(run: Choice, known: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats]:
    """Return means ``[draws]`` of the chosen candidates: weighted, and over the cases of weight 0."""
    values, monitored = run.values[known], run.monitored[known]
    means = weighted_means(monitored if run.mode == "max" else -monitored, weights)
    place = np.arange(len(weights)), np.where(np.isnan(means), -np.inf, means).argmax(axis=1)
    left_out = (weights == 0).astype(np.float64)
    return weighted_means(values, weights)[place], weighted_means(values, left_out)[place]
