"""Intervals and tests: against SciPy, by hand, and by simulation."""

from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from kitsseg.evaluation import stats
from kitsseg.evaluation.stats import Interval

NAN = float("nan")
SURE = 1e-4  # a simulation that is right fails so rarely, should its stream of numbers ever change

dice = st.floats(0, 1, allow_subnormal=False)
tables = st.integers(1, 3).flatmap(
    lambda seeds: st.integers(2, 9).flatmap(
        lambda cases: st.lists(
            st.lists(dice, min_size=cases, max_size=cases), min_size=seeds, max_size=seeds
        )
    )
)


def within(hits: int, rounds: int, low: float, high: float) -> bool:
    """Whether ``hits`` can come of a chance between ``low`` and ``high``."""
    return bool(
        scipy.stats.binom.ppf(SURE, rounds, low) <= hits <= scipy.stats.binom.ppf(1 - SURE, rounds, high)
    )


# ------------------------------------------------------------------- against SciPy


@pytest.mark.parametrize(("n", "shape"), [(8, (2, 0.8)), (12, (18, 1)), (42, (2, 0.8))])
def test_the_interval_is_scipys_bca_at_the_widened_level(n: int, shape: tuple[float, float]) -> None:
    values = np.random.default_rng(n).beta(*shape, n)
    tail = scipy.stats.norm.cdf(np.sqrt(n / (n - 1)) * scipy.stats.t.ppf(0.025, n - 1))
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, confidence_level=1 - 2 * tail, n_resamples=99_999, rng=0
    ).confidence_interval
    ours = stats.mean_interval(values, draws=99_999)
    error = values.std(ddof=1) / np.sqrt(n)
    assert ours.mean == pytest.approx(values.mean(), abs=1e-12)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.05 * error)
    # Both ends differ from the unwidened interval by far more than that tolerance.
    plain = scipy.stats.bootstrap((values,), np.mean, n_resamples=99_999, rng=0).confidence_interval
    if n < 42:
        assert ours.low < plain.low - 0.1 * error and ours.high > plain.high + 0.1 * error


@pytest.mark.parametrize(("n", "grid"), [(5, None), (12, None), (50, None), (7, 0.1), (10, 0.05)])
def test_p_is_scipys_where_that_is_exact(n: int, grid: float | None) -> None:
    """With a coarse grid there are ties and zeros, and SciPy tries all signs."""
    rng = np.random.default_rng(n)
    a, b = rng.beta(5, 2, n), rng.beta(4, 2, n)
    if grid is not None:
        a, b = np.round(a / grid) * grid, np.round(b / grid) * grid
    p, _ = stats.signed_rank(a - b)
    assert p == pytest.approx(scipy.stats.wilcoxon(np.round(a - b, 12)).pvalue, rel=1e-9)
    assert stats.paired(a, b, draws=9).p == p


def test_p_is_close_to_scipys_approximation_for_many_cases() -> None:
    rng = np.random.default_rng(0)
    d = np.round(rng.normal(0.02, 0.1, 210), 2)
    theirs = scipy.stats.wilcoxon(d, method="asymptotic").pvalue
    assert 0.001 < theirs < 0.05 and stats.signed_rank(d)[0] == pytest.approx(theirs, rel=0.1)


# ------------------------------------------------------------------------- by hand


def test_signed_rank_by_hand() -> None:
    # |d| has the ranks 1 2 3 4; the negative one has rank 2: W+ = 8, W- = 2. Of the 16 equally likely
    # signs, W- (or W+) is at most 2 in {}, {1}, {2}, twice: 6 of 16.
    p, effect = stats.signed_rank([0.1, -0.2, 0.3, 0.4])
    assert p == pytest.approx(6 / 16) and effect == pytest.approx((8 - 2) / 10)


def test_signed_rank_counts_every_sign_when_there_are_ties() -> None:
    d = np.array([0.1, 0.1, -0.1, 0.2, 0.3, 0.3])
    ranks = np.array([2, 2, 2, 4, 5.5, 5.5])
    sums = np.array([ranks @ signs for signs in product([0, 1], repeat=6)])
    p, effect = stats.signed_rank(d)
    assert p == pytest.approx(2 * np.mean(sums >= 19))  # W+ = 21 - 2
    assert effect == pytest.approx((19 - 2) / 21)


def test_differences_that_only_rounding_tells_apart_are_ties() -> None:
    assert 0.3 - 0.1 != 0.2 and stats.signed_rank([0.3 - 0.1, -0.2]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # R: p.adjust(p, "holm")
        ([0.5, 0.4], [0.8, 0.8]),
        ([0.04], [0.04]),
        ([], []),
        ([0.02, NAN, 0.03], [0.04, NAN, 0.04]),
    ],
)
def test_holm(p: list[float], corrected: list[float]) -> None:
    assert stats.holm(p) == pytest.approx(corrected, nan_ok=True)


def test_a_cases_value_is_its_mean_over_the_seeds_that_scored_it() -> None:
    table = [[0.2, NAN, 0.9, NAN], [0.4, 0.5, NAN, NAN]]
    assert stats.case_means(table) == pytest.approx([0.3, 0.5, 0.9, NAN], nan_ok=True)
    assert stats.mean_interval(table).mean == pytest.approx((0.3 + 0.5 + 0.9) / 3)
    # Over the one case that both seeds scored: 0.2 and 0.4.
    assert stats.seed_spread(table) == pytest.approx(np.sqrt(2) * 0.1)


def test_seeds_add_no_cases() -> None:
    """Equal seeds say no more than one of them."""
    one = np.random.default_rng(0).beta(2, 0.8, 12)
    a, b = stats.mean_interval([one, one, one]), stats.mean_interval(one)
    assert (a.mean, a.low, a.high) == pytest.approx((b.mean, b.low, b.high))
    thrice, once = stats.paired([one] * 3, [one**2] * 3), stats.paired(one, one**2)
    assert (thrice.cases, thrice.p, thrice.effect) == (12, once.p, once.effect)
    # The seeds add nothing to Student's interval over cases.
    difference = one - one**2
    half = special.stdtrit(11, 0.975) * difference.std(ddof=1) / np.sqrt(12)
    assert thrice.difference.mean == pytest.approx(once.difference.mean)
    assert thrice.difference.high - thrice.difference.mean == pytest.approx(half)


def test_two_seeds_of_one_case_difficulty_differ_by_their_luck() -> None:
    """All cases equal, two seeds 0.4 and 0.6: three of four draws of seeds give 0.4, 0.5, 0.6."""
    found = stats.mean_interval([[0.4] * 20, [0.6] * 20])
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.4, 0.6))


def test_the_same_seeds_are_drawn_together() -> None:
    """Both models share a seed's luck, so their difference has none of it."""
    luck = np.array([[-0.2], [0.0], [0.2]])
    a = 0.5 + luck + np.zeros(10)
    together = stats.paired(a + 0.1, a).difference
    assert (together.low, together.high) == pytest.approx((0.1, 0.1))
    apart = stats.paired(a + 0.1, a[:2]).difference
    assert apart.low < 0.1 < apart.high


def test_few_cases_reach_over_their_range_and_no_further() -> None:
    assert stats.mean_interval([0.2, 0.8]) == Interval(0.5, 0.2, 0.8)


# --------------------------------------------------------------------- what is not there


def test_conventions_for_what_is_not_there() -> None:
    same = pytest.approx
    none = stats.mean_interval([])
    assert (none.mean, none.low, none.high) == same((NAN, NAN, NAN), nan_ok=True)
    assert stats.mean_interval([[NAN, NAN]]).mean == same(NAN, nan_ok=True)
    one = stats.mean_interval([[0.4, NAN], [0.6, NAN]])
    assert (one.mean, one.low, one.high) == same((0.5, NAN, NAN), nan_ok=True)
    assert stats.mean_interval([0.7] * 5) == same_interval(0.7, 0.7, 0.7)
    assert np.isnan(stats.seed_spread([0.1, 0.2]))

    apart = stats.paired([0.5, NAN], [NAN, 0.4])
    assert apart.cases == 0
    assert (apart.difference.mean, apart.p, apart.effect) == same((NAN, NAN, NAN), nan_ok=True)
    equal = stats.paired([0.5, 0.25], [0.5, 0.25])
    assert (equal.p, equal.effect, equal.difference) == (1.0, 0.0, Interval(0.0, 0.0, 0.0))
    some = stats.paired([0.5, 0.6, NAN], [0.4, NAN, 0.1])
    assert some.cases == 1 and some.difference.mean == same(0.1)


def same_interval(mean: float, low: float, high: float) -> Interval:
    return Interval(*(pytest.approx(value) for value in (mean, low, high)))


def test_none_is_no_figure() -> None:
    assert stats.mean_interval([0.5, None, 0.7]).mean == pytest.approx(0.6)


def test_a_fold_of_one_seed_only_is_no_reason_to_stumble() -> None:
    table = np.full((2, 6), NAN)
    table[0], table[1, :2] = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], [0.5, 0.6]
    found = stats.mean_interval(table)
    assert found.mean == pytest.approx(0.75) and found.low < 0.75 < found.high


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: stats.mean_interval([0.5], confidence=95), r"confidence=95: must be in \(0, 1\)"),
        (lambda: stats.mean_interval([0.5], draws=0), "draws=0: must be at least 1"),
        (lambda: stats.mean_interval(np.zeros((2, 2, 2))), r"shape \(2, 2, 2\): must be \[cases\]"),
        (lambda: stats.mean_interval([np.inf]), "must not be infinite"),
        (lambda: stats.paired([0.5], [0.5, 0.6]), "a has 1 cases and b has 2: pass the same cases"),
    ],
)
def test_what_cannot_be_used_is_refused(call: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()


# ---------------------------------------------------------------------- properties


@settings(max_examples=30, deadline=None)
@given(tables)
def test_an_interval_lies_within_the_data_and_is_the_same_again(table: list[list[float]]) -> None:
    found = stats.mean_interval(table, draws=199)
    assert np.min(table) - 1e-9 <= found.low <= found.high <= np.max(table) + 1e-9
    assert found == stats.mean_interval(table, draws=199)


@settings(max_examples=30, deadline=None)
@given(tables, st.randoms(use_true_random=False))
def test_pairs_may_come_in_any_order_and_turn_the_sign(table: list[list[float]], random: object) -> None:
    a = np.array(table)
    b = 1 - a[:, ::-1] ** 2
    found, turned = stats.paired(a, b, draws=199), stats.paired(b, a, draws=199)
    assert turned.difference.mean == pytest.approx(-found.difference.mean)
    assert (turned.p, turned.cases) == (pytest.approx(found.p), found.cases)
    assert turned.effect == pytest.approx(-found.effect)
    order = list(range(a.shape[1]))
    random.shuffle(order)
    other = stats.paired(a[:, order], b[:, order], draws=199)
    assert (other.p, other.effect) == (pytest.approx(found.p), pytest.approx(found.effect))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_p_and_bonferroni(p: list[float]) -> None:
    for one, corrected in zip(p, stats.holm(p), strict=True):
        assert one <= corrected <= min(1.0, len(p) * one) + 1e-15


# ----------------------------------------------------------------------- simulation


@pytest.mark.parametrize(
    ("n", "shape", "low", "high"),
    # What experiments/03_intervals measured; the plain percentile interval had 0.881 and 0.825.
    [(12, (18, 1), 0.925, 0.955), (6, (18, 1), 0.895, 0.955)],
)
def test_coverage(n: int, shape: tuple[float, float], low: float, high: float) -> None:
    rng, rounds, held = np.random.default_rng(3), 2000, 0
    truth = shape[0] / sum(shape)
    for _ in range(rounds):
        found = stats.mean_interval(rng.beta(*shape, n), draws=499)
        held += found.low <= truth <= found.high
    assert within(held, rounds, low, high), held / rounds


def test_coverage_over_seeds() -> None:
    """With luck between seeds as large as that between cases' mean, cases alone would not do."""
    rng, rounds, held, cases_only = np.random.default_rng(4), 600, 0, 0
    for _ in range(rounds):
        table = rng.beta(2, 0.8, 42) + rng.normal(0, 0.08, (5, 1)) + rng.normal(0, 0.1, (5, 42))
        for interval, count in ((stats.mean_interval(table, draws=499), 0), (None, 1)):
            found = interval or stats.mean_interval(table.mean(axis=0), draws=499)
            inside = found.low <= 2 / 2.8 <= found.high
            held, cases_only = held + inside * (count == 0), cases_only + inside * (count == 1)
    assert within(held, rounds, 0.92, 0.96), held / rounds
    assert not within(cases_only, rounds, 0.92, 0.96), cases_only / rounds


def test_equal_models_seldom_differ() -> None:
    rng, rounds = np.random.default_rng(5), 1000
    small, outside, all_small = 0, 0, 0
    for _ in range(rounds):
        cases = rng.beta(2, 0.8, 12)
        models = np.clip(cases + rng.normal(0, 0.1, (4, 12)), 0, 1)
        found = [stats.paired(models[0], other, draws=199) for other in models[1:]]
        p = [each.p for each in found]
        small += p[0] < 0.05
        outside += not found[0].difference.low <= 0 <= found[0].difference.high
        all_small += min(stats.holm(p)) < 0.05
    assert within(small, rounds, 0.035, 0.05), small / rounds
    assert within(outside, rounds, 0.035, 0.065), outside / rounds
    assert within(all_small, rounds, 0.01, 0.05), all_small / rounds  # any of the three


def test_a_real_difference_is_seen() -> None:
    rng, seen = np.random.default_rng(6), 0
    for _ in range(100):
        a = rng.beta(2, 0.8, 42)
        seen += stats.paired(a + 0.1 + rng.normal(0, 0.1, 42), a, draws=9).p < 0.05
    assert seen > 95


@pytest.mark.parametrize("values", [[0, 0, 1], [0, 1, 1], [0, 0, 0, 0, 1], [1, 2, 4, 8, 100]])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99, 0.999, 0.99999])
def test_an_interval_contains_its_mean_at_any_confidence(values: list[float], confidence: float) -> None:
    found = stats.mean_interval(values, confidence)
    assert found.low <= found.mean <= found.high
