"""The best of several candidates is too good on the cases that chose it."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from kitsseg.evaluation.optimism import Choice, optimism


def choice(values: ArrayLike, monitored: ArrayLike | None = None, mode: str = "max") -> Choice:
    array = np.asarray(values, np.float64)
    return Choice(array, array if monitored is None else np.asarray(monitored, np.float64), mode)


def test_two_cases_by_hand() -> None:
    """A sample that holds one case chooses the candidate that is bad in the other one.

    Candidate 0 has 1 and 0, candidate 1 has 0 and 0.8. The best mean is 0.5; left out, candidate 0 has 0
    in the second case, and candidate 1 has 0 in the first.
    """
    values = np.array([[1.0, 0.0], [0.0, 0.8]])
    assert optimism([[choice(values)]]) == 0.5
    recipes = [[choice(values[:, [i]])] for i in (0, 1)]  # the same as two recipes with one epoch
    assert optimism(recipes) == 0.5
    assert optimism([[choice(values)] * 2]) == 0.5  # two equal seeds


def test_a_candidate_that_is_best_in_every_case_is_not_optimistic() -> None:
    values = np.array([[0.5, 0.6, 0.9]] * 6)
    assert optimism([[choice(values)]]) == pytest.approx(0, abs=1e-12)
    assert optimism([[choice(values, 1 - values, "min")]]) == pytest.approx(0, abs=1e-12)


def test_equal_recipes_are_corrected_to_their_mean() -> None:
    """Without true differences, the optimism of four recipes with five epochs is that of 20 epochs."""
    rng = np.random.default_rng(1)
    raw, nested, flat = [], [], []
    for _ in range(100):
        values = rng.normal(0.7, 0.1, (10, 20))
        raw.append(values.mean(0).max() - 0.7)
        nested.append(optimism([[choice(part)] for part in np.split(values, 4, axis=1)], draws=200))
        flat.append(optimism([[choice(values)]], draws=200))
    assert np.mean(raw) > 0.05 and nested == pytest.approx(flat)
    assert np.mean(flat) == pytest.approx(np.mean(raw), abs=0.01)


def test_another_metric_chooses() -> None:
    """A loss that has nothing to do with the values chooses without optimism."""
    rng = np.random.default_rng(2)
    found = [
        optimism([[choice(rng.normal(0, 1, (8, 5)), rng.normal(0, 1, (8, 5)), "min")]], draws=200)
        for _ in range(200)
    ]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))


def test_undefined_values_are_skipped() -> None:
    values = np.array([[0.2, 0.4], [0.6, 0.3], [0.5, 0.9], [0.7, 0.1]])
    padded = np.vstack([values, [[np.nan, np.nan]]])
    assert optimism([[choice(padded)]]) == optimism([[choice(values)]])
    padded[4, 0] = 0.5
    assert np.isfinite(optimism([[choice(padded)]]))
    halves = [np.where(np.arange(4)[:, None] % 2 == fold, values, np.nan) for fold in (0, 1)]
    assert np.isfinite(optimism([[choice(half) for half in halves]]))  # two folds


def test_too_little_to_choose() -> None:
    assert optimism([[choice([[0.1], [0.9]])]]) == 0
    assert np.isnan(optimism([[choice([[0.1, 0.2]])]]))
    assert np.isnan(optimism([[choice(np.full((4, 2), np.nan))]]))
