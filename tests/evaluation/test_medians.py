"""Medians of skewed metrics: by hand, against SciPy, and in the table of an evaluation."""

import re

import numpy as np
import pytest
import scipy.stats

from kitsseg.data.labels import KITS19
from kitsseg.evaluation import record, stats

NAN = float("nan")


@pytest.mark.parametrize(("n", "k"), [(5, 0), (6, 1), (8, 1), (9, 2), (12, 3), (42, 15)])
def test_the_limits_are_order_statistics(n: int, k: int) -> None:
    """``k`` is that of the tables of the sign test at 5 %."""
    values = np.random.default_rng(n).lognormal(0, 1.5, n)
    median, low, high = stats.median_interval([*values, NAN])
    expected = (np.sort(values)[k - 1], np.sort(values)[-k]) if k else (NAN, NAN)
    assert median == np.median(values)
    assert (low, high) == pytest.approx(expected, nan_ok=True)
    if k:
        theirs = scipy.stats.quantile_test(values, p=0.5).confidence_interval(0.95)
        assert (low, high) == (theirs.low, theirs.high)


def test_coverage_of_the_median_is_never_below_95_percent() -> None:
    rng, rounds, held = np.random.default_rng(0), 2000, 0
    for _ in range(rounds):
        _, low, high = stats.median_interval(rng.lognormal(0, 1.5, 12))
        held += low <= 1 <= high
    assert held / rounds == pytest.approx(0.961, abs=0.015)  # exact: 1 - 2 * 79 / 4096


def test_the_median_of_no_case() -> None:
    assert np.isnan(stats.median_interval([None, NAN])).all()


def case(hd95_mm: float, error_ml: float) -> dict[str, object]:
    volume = {"prediction": 20 + error_ml, "truth": 20, "error": error_ml}
    return {
        "dice": dict.fromkeys(KITS19.regions, 0.9),
        "surface_dice": dict.fromkeys(KITS19.regions, 0.9),
        "hd95_mm": dict.fromkeys(KITS19.regions, hd95_mm),
        "volume_ml": dict.fromkeys(KITS19.regions, volume),
        "lesions": {"truth": 1, "found": 1, "predicted": 1, "false_positives": 0},
        "detected": True,
    }


def test_distances_and_volume_errors_have_the_interval_of_the_median() -> None:
    """One distance of 100 mm among eight raises the mean, not the median."""
    cases = {f"{i}": case(mm, -mm) for i, mm in enumerate([1, 2, 3, 4, 5, 6, 7, 100])}
    summary = record.summarise(cases)["as_predicted"]
    expected = {"mean": 16, "median": 4.5, "low": 1, "high": 100, "cases": 8}
    assert summary["hd95_mm"]["tumour"] == summary["absolute_volume_error_ml"]["tumour"] == expected
    assert set(summary["dice"]["tumour"]) == {"mean", "low", "high", "cases"}
    text = record.table(summary, "tumour")
    assert re.search(r"\nHD95 \(mm\), median +4.5 \[1.0, 100.0\]", text)
    assert re.search(r"\nHD95 \(mm\), mean +16.0 +16.0", text)
    assert "\nlesions (tumour): 8 of 8 found" in text
    assert re.search(r"\nvolume error \(ml\), median +-4.5 \[-100.0, -1.0\]", text)


def test_five_cases_have_a_median_without_an_interval() -> None:
    summary = record.summarise({f"{i}": case(i, i) for i in range(5)})["as_predicted"]
    assert summary["hd95_mm"]["kidney"] == {
        "mean": 2, "median": 2, "low": None, "high": None, "cases": 5,
    }  # fmt: skip
    assert re.search(r"\nHD95 \(mm\), median +2.0 +2.0", record.table(summary, "tumour"))
