"""The best of several candidates is too good on the cases that chose it."""

import numpy as np
import pytest

from kitsseg.evaluation.optimism import optimism


def test_two_cases_by_hand() -> None:
    """A sample that holds one case chooses the candidate that is bad in the other one.

    Candidate 0 has 1 and 0, candidate 1 has 0 and 0.8. The best mean is 0.5; left out, candidate 0 has 0
    in the second case, and candidate 1 has 0 in the first.
    """
    assert optimism([[1.0, 0.0], [0.0, 0.8]]) == 0.5


def test_a_candidate_that_is_best_in_every_case_is_not_optimistic() -> None:
    values = np.array([[0.5, 0.6, 0.9]] * 6)
    assert optimism(values) == pytest.approx(0, abs=1e-12)
    assert optimism(1 - values, mode="min") == pytest.approx(0, abs=1e-12)


def test_equal_candidates_are_corrected_to_their_mean() -> None:
    """Without true differences, the expected optimism is that of the largest of 20 means."""
    rng = np.random.default_rng(1)
    raw, found = [], []
    for _ in range(100):
        values = rng.normal(0.7, 0.1, (10, 20))
        raw.append(values.mean(0).max() - 0.7)
        found.append(optimism(values, draws=200))
    assert np.mean(raw) > 0.05
    assert np.mean(found) == pytest.approx(np.mean(raw), abs=0.01)


def test_another_metric_chooses() -> None:
    """A loss that has nothing to do with the values chooses without optimism."""
    rng = np.random.default_rng(2)
    found = [
        optimism(rng.normal(0, 1, (8, 5)), rng.normal(0, 1, (8, 5)), "min", draws=200)
        for _ in range(200)
    ]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))


def test_undefined_values_are_skipped() -> None:
    values = np.array([[0.2, 0.4], [0.6, 0.3], [0.5, 0.9], [0.7, 0.1]])
    padded = np.vstack([values, [[np.nan, np.nan]]])
    assert optimism(padded) == optimism(values)
    padded[4, 0] = 0.5
    assert np.isfinite(optimism(padded))


def test_too_little_to_choose() -> None:
    assert optimism([[0.1], [0.9]]) == 0
    assert np.isnan(optimism([[0.1, 0.2]])) and np.isnan(optimism(np.full((4, 2), np.nan)))
    with pytest.raises(
        ValueError, match=r"values of shape \(2,\) .* must both be \[cases, candidates\]"
    ):
        optimism([0.1, 0.2])
