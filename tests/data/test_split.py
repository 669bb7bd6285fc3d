"""Splits of cases."""

from pathlib import Path

import pytest

from kitsseg.data.case import Case
from kitsseg.data.split import MLPERF_VALIDATION, KFold, MLPerf42, Seeded

IDS = [f"case_{i:05d}" for i in range(210)]


def some(*ids: str, **about: list[str]) -> list[Case]:
    """Cases with these ids and columns."""
    columns = [dict(zip(about, row, strict=True)) for row in zip(*about.values(), strict=True)]
    columns = columns if about else [{}] * len(ids)
    return [Case(i, Path(i), Path(i), about=c) for i, c in zip(ids, columns, strict=True)]


KITS19 = some(*IDS)


def test_the_default_has_168_and_42_cases() -> None:
    split = Seeded()(KITS19)
    assert (len(split.train), len(split.validation)) == (168, 42)
    assert sorted(split.train + split.validation) == IDS


def test_mlperf_is_fixed() -> None:
    split = MLPerf42()(KITS19)
    assert (len(split.train), len(split.validation)) == (168, 42)
    assert split.validation == [f"case_{i:05d}" for i in MLPERF_VALIDATION]
    assert len(set(MLPERF_VALIDATION)) == 42


def test_the_split_depends_on_the_seed_but_not_on_the_order_of_ids() -> None:
    assert Seeded(seed=1)(KITS19) == Seeded(seed=1)(KITS19[::-1])
    assert Seeded(seed=1)(KITS19) != Seeded(seed=2)(KITS19)


def test_every_case_validates_in_exactly_one_fold() -> None:
    folds = [KFold(folds=4, fold=i)(KITS19).validation for i in range(4)]
    assert sorted(sum(folds, [])) == IDS
    assert {len(f) for f in folds} == {52, 53}


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Seeded(validation=0), "validation=0: must be between 0 and 1"),
        (lambda: Seeded(validation=1.0), "validation=1.0: must be"),
        (lambda: KFold(folds=1), "folds=1: must be at least 2"),
        (lambda: KFold(folds=5, fold=5), "fold=5: must be between 0 and 4"),
        (lambda: Seeded()(KITS19[:1]), "has 0 training and 1 validation cases"),
        (lambda: MLPerf42()(some("case_00001", "case_00002")), "and 0 validation cases"),
    ],
)
def test_errors(make: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()  # type: ignore[operator]
