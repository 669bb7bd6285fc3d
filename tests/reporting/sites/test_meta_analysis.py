"""The mean over sites: by hand, and on a published example."""

import numpy as np
import pytest

from kitsseg.reporting.sites.meta_analysis import combine_cases, combine_means

# Trials of the BCG vaccine (Colditz et al., JAMA 271, 1994): tuberculosis and no tuberculosis, with and
# without vaccine.
BCG = np.array([
    [4, 119, 11, 128], [6, 300, 29, 274], [3, 228, 11, 209], [62, 13536, 248, 12619],
    [33, 5036, 47, 5761], [180, 1361, 372, 1079], [8, 2537, 10, 619], [505, 87886, 499, 87892],
    [29, 7470, 45, 7232], [17, 1699, 65, 1600], [186, 50448, 141, 27197], [5, 2493, 3, 2338],
    [27, 16886, 29, 17825],
], np.float64)  # fmt: skip


def test_published_example() -> None:
    """The R package metafor gives Q = 152.23 and, by Paule and Mandel, tau² = 0.3181."""
    ill, well, control_ill, control_well = BCG.T
    groups, controls = ill + well, control_ill + control_well
    risk = np.log(ill / groups / (control_ill / controls))
    found = combine_means(risk, 1 / ill - 1 / groups + 1 / control_ill - 1 / controls)
    assert found.i2 == pytest.approx(1 - 12 / 152.2330, abs=1e-6)
    assert found.tau**2 == pytest.approx(0.3181, abs=1e-4)
    assert found.mean.mean == pytest.approx(-0.7150, abs=1e-3)
    # Knapp-Hartung with the restricted maximum likelihood estimate of tau²: -1.108 to -0.321.
    assert found.mean.low == pytest.approx(-1.108, abs=5e-3)
    assert found.mean.high == pytest.approx(-0.321, abs=5e-3)


def test_equal_variances_by_hand() -> None:
    """tau² is the variance of the means, 0.01, minus 0.001; t is 4.3027 and 12.706 with 2 and 1 df."""
    found = combine_means([0.6, 0.7, 0.8], [0.001] * 3)
    assert found.tau**2 == pytest.approx(0.009) and found.i2 == pytest.approx(0.9)
    assert found.mean.mean == pytest.approx(0.7)
    assert found.mean.high - 0.7 == pytest.approx(4.302653 * np.sqrt(0.01 / 3), rel=1e-6)
    assert 0.7 - found.new_site.low == pytest.approx(12.706205 * np.sqrt(0.009 + 0.01 / 3), rel=1e-6)


def test_sites_that_agree_by_chance_do_not_narrow_the_interval() -> None:
    found = combine_means([0.7, 0.7, 0.7], [0.003] * 3)
    assert found.tau == 0 and found.i2 == 0
    assert found.mean.high - 0.7 == pytest.approx(4.302653 * np.sqrt(0.001), rel=1e-6)


def test_two_sites_have_no_interval_for_a_new_one() -> None:
    found = combine_means([0.6, 0.8], [0.001, 0.001])
    assert found.mean.low < 0.6 and np.isnan(found.new_site.low)


def test_the_variance_between_cases_is_pooled() -> None:
    """Sums of squares 0.02 and 0.06 with 1 and 2 degrees of freedom; the third site has one case."""
    found = combine_cases([[0.5, 0.7], [0.4, 0.4, 0.7], [0.8]])
    expected = combine_means([0.6, 0.5, 0.8], [0.08 / 3 / 2, 0.08 / 3 / 3, 0.08 / 3])
    assert found.mean.mean == pytest.approx(expected.mean.mean)
    assert found.mean.low == pytest.approx(expected.mean.low)


def test_equal_cases_have_a_finite_weight() -> None:
    found = combine_cases([[0.0, 0.0], [0.0] * 5, [0.0] * 3])
    assert found.mean.mean == 0 and found.mean.high < 1e-5
