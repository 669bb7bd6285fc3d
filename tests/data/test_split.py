import pytest

from kitsseg.data.split import MLPERF_VALIDATION, KFold, MLPerf42, Seeded

KITS19 = [f"case_{i:05d}" for i in range(210)]


def test_the_paper_has_168_and_42_cases() -> None:
    split = Seeded()(KITS19)
    assert (len(split.train), len(split.validation)) == (168, 42)
    assert sorted(split.train + split.validation) == KITS19


def test_mlperf_is_fixed() -> None:
    split = MLPerf42()(KITS19)
    assert (len(split.train), len(split.validation)) == (168, 42)
    assert split.validation == [f"case_{i:05d}" for i in MLPERF_VALIDATION]
    assert len(set(MLPERF_VALIDATION)) == 42


def test_seed_decides_and_order_of_ids_does_not() -> None:
    assert Seeded(seed=1)(KITS19) == Seeded(seed=1)(KITS19[::-1])
    assert Seeded(seed=1)(KITS19) != Seeded(seed=2)(KITS19)


def test_every_case_validates_in_exactly_one_fold() -> None:
    folds = [KFold(folds=4, fold=i)(KITS19).validation for i in range(4)]
    assert sorted(sum(folds, [])) == KITS19
    assert {len(f) for f in folds} == {52, 53}


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Seeded(validation=0), r"validation=0: must be in \(0, 1\)"),
        (lambda: Seeded(validation=1.0), "validation=1.0: must be in"),
        (lambda: KFold(folds=1), "folds=1: must be at least 2"),
        (lambda: KFold(folds=5, fold=5), r"fold=5: must"),
        (lambda: Seeded()(KITS19[:1]), "leaves 0 to train and 1 to validate"),
        (lambda: MLPerf42()(["case_00001", "case_00002"]), "and 0 to validate"),
    ],
)
def test_errors(make: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()  # type: ignore[operator]
