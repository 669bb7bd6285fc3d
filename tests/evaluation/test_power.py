"""Planning: effects of a pilot, and the power of studies of another size."""

import numpy as np
import pytest

from kitsseg.evaluation import power


def pilot(rng: np.random.Generator, seeds: int, cases: int, gain: float = 0.0) -> np.ndarray:
    """Return differences with standard deviations 0.1 (cases), 0.03 (seeds) and 0.05."""
    table: np.ndarray = (
        gain
        + rng.normal(0, 0.1, cases)
        + rng.normal(0, 0.03, (seeds, 1))
        + rng.normal(0, 0.05, (seeds, cases))
    )
    return table


def test_the_effects_of_a_large_pilot_are_recovered() -> None:
    found = power.estimate(pilot(np.random.default_rng(0), 200, 400))
    assert found.case_sd == pytest.approx(0.1, rel=0.1)
    assert found.seed_sd == pytest.approx(0.03, rel=0.15)
    assert found.rest_sd == pytest.approx(0.05, rel=0.02)
    assert found.cases.mean() == pytest.approx(0, abs=1e-12)


def test_effects_by_hand() -> None:
    """Cases 0 and 2, seeds +1 and -1, no rest."""
    found = power.estimate([[1, 3, 1, 3], [-1, 1, -1, 1]])
    assert found.rest_sd == 0 and found.seed_sd == pytest.approx(np.sqrt(2))
    assert found.case_sd == pytest.approx(np.sqrt(4 / 3))
    assert found.cases == pytest.approx([-np.sqrt(4 / 3), np.sqrt(4 / 3)] * 2)


def test_cases_without_a_value_in_one_seed_are_left_out() -> None:
    table = pilot(np.random.default_rng(0), 2, 12)
    table[0, 3] = np.nan
    kept = np.delete(table, 3, axis=1)
    assert power.estimate(table).case_sd == power.estimate(kept).case_sd


def test_power_grows_with_cases_and_is_5_percent_without_a_difference() -> None:
    effects = power.estimate(pilot(np.random.default_rng(0), 20, 100))
    rng = np.random.default_rng(1)
    few, many = (power.power(effects, 0.05, 5, cases, 200, rng) for cases in (12, 96))
    assert few < 0.5 < many
    assert power.power(effects, -0.05, 5, 96, 200, rng) == pytest.approx(many, abs=0.17)
    assert power.power(effects, 1e-9, 3, 24, 200, rng) < 0.07  # on the one side that is asked for


def test_the_claimed_power_is_that_of_new_studies() -> None:
    """The power from a pilot is close to the share of studies of the population that find the gain."""
    rng = np.random.default_rng(2)
    studies = np.array([pilot(rng, 3, 40, gain=0.05) for _ in range(150)])
    tests = [power.stats.paired(study, np.zeros_like(study)) for study in studies]
    truth = sum(test.difference.low > 0 and test.p < 0.05 for test in tests)
    assert power.count_found(studies, True) == power.count_found(-studies, False) == truth
    claimed = [power.power(power.estimate(pilot(rng, 4, 30)), 0.05, 3, 40, 30, rng) for _ in range(10)]
    assert np.mean(claimed) == pytest.approx(truth / 150, abs=0.12)


def test_smallest_number_of_cases() -> None:
    assert power.smallest([0.3, 0.82, 0.79, 0.9], [10, 20, 40, 80], 0.8) == 80
    assert power.smallest([0.3, 0.8], [10, 20], 0.8) == 20
    assert power.smallest([0.3, 0.7], [10, 20], 0.8) is None


def test_too_small_a_pilot() -> None:
    with pytest.raises(ValueError, match="has 3 cases with a value in every run"):
        power.estimate([[0.1] * 3] * 2)


def test_a_pilot_without_variation() -> None:
    """Two models that both have a Dice of 0 do not say how much differences vary."""
    with pytest.raises(ValueError, match="the models differ by 0.1 in every case and run of the pilot"):
        power.estimate([[0.3 - 0.2, 0.1, 0.4 - 0.3, 0.1]] * 2)
