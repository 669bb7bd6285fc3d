"""Paired comparisons of rows."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from kitsseg.evaluation import stats
from kitsseg.reporting import comparisons
from kitsseg.reporting.table_rows import group_runs
from tests.helpers.records import part, validated


def test_few_rows_are_all_compared_many_only_with_the_first() -> None:
    few = group_runs([validated(name, [0.5]) for name in "abc"])
    names = [(x.label, y.label) for x, y in comparisons.row_pairs(few)]
    assert names == [("b", "a"), ("c", "a"), ("c", "b")]
    many = group_runs([validated(name, [0.5]) for name in "abcde"])
    assert [(x.label, y.label) for x, y in comparisons.row_pairs(many)] == [(n, "a") for n in "bcde"]
    assert comparisons.compare(few[:1]) == []


def test_only_common_cases_count() -> None:
    table = group_runs([validated("a", [0.1, 0.2, 0.3]), validated("b", [0.9, 0.7, 0.5, None], first=1)])
    kidney, tumour = comparisons.compare(table)
    # Cases 1 and 2: 0.9 - 0.2 and 0.7 - 0.3.
    assert kidney.paired.cases == 2 and kidney.validated == (4, 3)
    assert kidney.paired.difference.mean == pytest.approx((0.7 + 0.4) / 2)
    assert kidney.paired.effect == 1 and kidney.paired.p == 0.5
    assert (kidney.p_holm, tumour.p_holm) == (1.0, 1.0)
    assert "such cases are therefore not part" in comparisons.note([kidney])
    line = ["b − a", "kidney", "undecided", "2 of 4 and 3", "+0.550 [+0.400, +0.700]", "0.500", "1.000"]
    assert comparisons.comparison_cells([kidney]) == [[*line, "+1.00"]]


def test_two_models_that_learned_nothing_are_not_equivalent() -> None:
    runs = [
        validated(name, [value, 0.0, value, value], seed=seed)
        for name, value in (("a", 0.001), ("b", 0.002))
        for seed in range(3)
    ]
    verdicts = [c.verdict for c in comparisons.compare(group_runs(runs))]
    assert verdicts == ["undecided", "undecided"]


def test_no_common_case() -> None:
    found = comparisons.compare(group_runs([validated("a", [0.1]), validated("b", [0.9], first=1)]))
    cells = comparisons.comparison_cells(found)[0]
    assert cells == ["b − a", "kidney", "", "0 of 1 and 1", "–", "–", "–", "–"]
    (first, _) = csv.DictReader(io.StringIO(comparisons.comparison_csv(found)))
    assert first["cases"] == "0" and first["p"] == first["difference"] == ""


def test_p_is_corrected_over_all_comparisons_and_regions() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(20) / 2
    runs = [
        validated(name, list(base + better + rng.random(20) / 10))
        for name, better in {"a": 0, "b": 0.02, "c": 0.3}.items()
    ]
    found = comparisons.compare(group_runs(runs))
    assert len(found) == 6
    assert [each.p_holm for each in found] == stats.holm([each.paired.p for each in found])
    assert found[2].p_holm == 6 * found[2].paired.p  # the smallest of six


def test_seeds_are_averaged_within_a_case() -> None:
    runs = [validated("a", [0.2, 0.4], seed=s) for s in (0, 1, 2)]
    runs += [validated("b", [0.3 + s / 10, 0.5 + s / 10], seed=s) for s in (0, 1)]
    kidney, _ = comparisons.compare(group_runs(runs))
    assert kidney.paired.cases == 2 and kidney.paired.difference.mean == pytest.approx(0.15)


def test_of_unequal_numbers_of_seeds_the_common_ones_are_compared() -> None:
    """With all, the interval is a bootstrap of too few seeds, and equal recipes are often "better"."""
    shifts = {"a": {0: 0.0, 1: 0.1, 2: 0.5}, "b": {0: 0.2, 2: 0.6}}
    base = np.linspace(0.1, 0.3, 12)
    runs = [validated(n, list(base + d), seed=s) for n, own in shifts.items() for s, d in own.items()]
    kidney, _ = comparisons.compare(group_runs(runs))
    assert kidney.paired.difference.mean == pytest.approx((0.2 + 0.1) / 2)  # of seeds 0 and 2
    one, _ = comparisons.compare(group_runs([run for run in runs if (run.model, run.seed) != ("b", 0)]))
    assert one.verdict in ("these weights differ", "undecided")


def test_sites_have_one_order_of_recipes() -> None:
    """Otherwise the difference between two models has two signs, and is not combined."""
    runs = [
        replace(validated(name, [0.5], first=first), site=site)
        for first, (site, names) in enumerate({"x": "ab", "y": "ba"}.items())
        for name in names
    ]
    pairs = [(a.recipe, b.recipe) for a, b in comparisons.row_pairs(group_runs(runs))]
    assert pairs == [("b", "a"), ("b", "a")]


def test_csv_has_all_digits() -> None:
    found = comparisons.compare(group_runs([validated("a", [0.1, 0.5]), validated("b", [0.4, 0.9])]))
    (first, _) = csv.DictReader(io.StringIO(comparisons.comparison_csv(found)))
    assert float(first["difference"]) == found[0].paired.difference.mean
    assert (first["first"], first["second"], first["region"]) == ("b", "a", "kidney")
    assert (first["first validated"], first["second validated"]) == ("2", "2")


def test_last_stage_is_compared() -> None:
    tuned = {"train": {}, "validation": part([0.9], [0.9])}
    kidney, _ = comparisons.compare(
        group_runs([validated("a", [0.5]), replace(validated("b", [0.4]), after=tuned)])
    )
    assert kidney.paired.difference.mean == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("gain", "noise", "seeds", "verdict"),
    [
        (0.1, 0.02, 2, "better"),
        (-0.1, 0.02, 2, "worse"),
        (0.0, 0.001, 2, "equivalent"),
        (0.005, 0.001, 2, "equivalent"),  # certainly better, by less than matters
        (0.01, 0.1, 2, "undecided"),
        (0.1, 0.02, 1, "these weights differ"),
        (0.0, 0.001, 1, "undecided"),
    ],
)
def test_the_verdict(gain: float, noise: float, seeds: int, verdict: str) -> None:
    rng = np.random.default_rng(0)
    base = rng.random(12) * 0.5 + 0.2
    runs = [
        validated(name, list(base + more + rng.normal(0, noise, 12)), seed=seed)
        for name, more in (("a", 0.0), ("b", gain))
        for seed in range(seeds)
    ]
    found = comparisons.compare(group_runs(runs))
    assert found[0].verdict == verdict
    assert verdict in comparisons.comparison_csv(found) and "±0.02" in comparisons.note(found)
