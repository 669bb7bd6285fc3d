"""By how much the best of several candidates is too good on the cases that chose it.

The candidates are the epochs of a run or the recipes of a table. Their means over cases are compared
and the best is chosen, so part of its lead is luck. The bootstrap repeats the choice: a candidate is
chosen on a sample of the cases, drawn with replacement, and evaluated on the cases that the sample
lacks. The mean over samples estimates what the chosen candidate achieves on new cases (Tsamardinos,
Greasidou and Borboudakis, Machine Learning 107, 2018; the leave-one-out bootstrap of Efron, JASA 78,
1983).
experiments/03_intervals compares its bias with that of other estimators.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 1999

Floats = NDArray[np.float64]


def optimism(
    values: ArrayLike, monitored: ArrayLike | None = None, mode: str = "max", draws: int = DRAWS
) -> float:
    """Return the mean of the best candidate minus an estimate of its mean on new cases.

    Args:
        values: ``[cases, candidates]``, NaN where undefined.
        monitored: values of the same shape whose means choose the candidate; by default ``values``.
        mode: ``max`` or ``min``: which mean of ``monitored`` is the best. The first of equal ones is.
        draws: number of bootstrap samples.

    Returns:
        The optimism in the unit of ``values``, by chance below 0; 0 with a single candidate. NaN if
        fewer than two cases have a value.
    """
    scores = np.asarray(values, np.float64)
    choosing = scores if monitored is None else np.asarray(monitored, np.float64)
    if scores.ndim != 2 or scores.shape != choosing.shape:
        raise ValueError(
            f"values of shape {scores.shape} and monitored of shape {choosing.shape}: must both be "
            "[cases, candidates]"
        )
    known = ~np.isnan(scores).all(axis=1)
    scores, choosing = scores[known], choosing[known]
    cases, candidates = scores.shape
    if cases < 2:
        return float("nan")
    if candidates == 1:
        return 0.0
    choosing = choosing if mode == "max" else -choosing
    drawn = np.random.default_rng(0).multinomial(cases, np.full(cases, 1 / cases), size=draws)
    drawn = drawn[(drawn == 0).any(axis=1)].astype(np.float64)
    chosen = _best(_means(choosing, drawn))
    left_out = _means(scores, (drawn == 0).astype(np.float64))[np.arange(len(drawn)), chosen]
    (best,) = _best(_means(choosing, np.ones((1, cases))))
    return float(np.nanmean(scores[:, best]) - np.nanmean(left_out))


def _means(values: Floats, weights: Floats) -> Floats:
    """Return ``[draws, candidates]``: means of ``[cases, candidates]``, weights ``[draws, cases]``."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: no case of a sample has a value
        return np.asarray((weights @ np.where(known, values, 0)) / (weights @ known))


def _best(means: Floats) -> NDArray[np.intp]:
    """Return the first largest candidate of each row."""
    return np.asarray(np.where(np.isnan(means), -np.inf, means).argmax(axis=1))
