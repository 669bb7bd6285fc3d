"""Intervals of a difference between two recipes, over cases and seeds."""

import numpy as np
import pytest
from scipy import special

from kitsseg.evaluation import random_effects, stats


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


def test_half_widths_are_combined_by_their_squares() -> None:
    """Cases 0 and 2, seeds -1 and +1, no rest: both means have the standard error sqrt(s² / n)."""
    table = np.array([[-1.0, 1.0, -1.0, 1.0], [1.0, 3.0, 1.0, 3.0]])
    over_cases = special.stdtrit(3, 0.975) * np.sqrt((4 / 3) / 4)
    over_seeds = special.stdtrit(1, 0.975) * np.sqrt(2 / 2)
    expected = np.hypot(over_cases, over_seeds)
    assert random_effects.half_width(table, 0.95) == pytest.approx(expected)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_two_runs_of_one_recipe_rarely_differ(seeds: int) -> None:
    """Seeds differ much more than 42 cases explain. By Satterthwaite, two seeds differ in 11 %."""
    rng, rounds, found = np.random.default_rng(0), 3000, 0
    for _ in range(rounds):
        table = rng.normal(0, 0.05, 42) + rng.normal(0, 0.056, (seeds, 1))
        table += rng.normal(0, 0.07, (seeds, 42))
        found += abs(table.mean()) > random_effects.half_width(table, 0.95)
    assert found / rounds < 0.06


def test_few_complete_cases_are_resampled() -> None:
    table = np.random.default_rng(0).random((2, 5))
    table[0, :2] = np.nan
    found = stats.paired(table, np.zeros_like(table)).difference
    assert found.high - found.mean != pytest.approx(found.mean - found.low)  # not symmetric
