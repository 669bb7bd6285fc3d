"""Intervals of a difference between two recipes, over cases and seeds."""

import numpy as np
import pytest
from scipy import special

from kitsseg.evaluation import stats


def test_seeds_that_differ_leave_few_degrees_of_freedom() -> None:
    """Cases are equal and three seeds differ: Student's interval over the three seeds."""
    rng = np.random.default_rng(0)
    seeds = np.array([0.1, 0.2, 0.4])
    table = seeds[:, None] + rng.normal(0, 1e-6, (3, 40))
    found = stats.paired(table, np.zeros_like(table)).difference
    half = special.stdtrit(2, 0.975) * seeds.std(ddof=1) / np.sqrt(3)
    assert found.high - found.mean == pytest.approx(half, rel=1e-3)


def test_cases_that_vary_less_than_chance() -> None:
    """The variance of the cases cannot be negative: Student's interval over two seeds."""
    table = np.array([[0.0, 1.0] * 6, [1.0, 0.0] * 6]) + [[0.0], [0.5]]
    found = stats.paired(table, np.zeros_like(table)).difference
    assert found.high - found.mean == pytest.approx(special.stdtrit(1, 0.975) * 0.25)


def test_few_complete_cases_are_resampled() -> None:
    table = np.random.default_rng(0).random((2, 5))
    table[0, :2] = np.nan
    found = stats.paired(table, np.zeros_like(table)).difference
    assert found.high - found.mean != pytest.approx(found.mean - found.low)  # not symmetric
