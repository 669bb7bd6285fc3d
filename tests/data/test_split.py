"""Splits of cases."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitsseg.data.case import Case
from kitsseg.data.split import (
    MLPERF_VALIDATION,
    ColumnSplit,
    FileSplit,
    Grouped,
    KFold,
    MLPerf42,
    Seeded,
    Split,
    Stratified,
    check_patients,
)

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
        (lambda: Seeded(seed=-1), "seed=-1: must be at least 0"),
        (lambda: KFold(seed=-1), "seed=-1: must be at least 0"),
        (lambda: Seeded(validation=0), "validation=0: must be above 0 and below 1"),
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


# ---- by columns


def test_cases_of_a_patient_stay_together() -> None:
    patients = ["a", "a", "a", "b", "b", "c", "d", "e", "f", "g"]
    cases = some(*map(str, range(10)), patient=patients)
    for seed in range(20):
        split = Grouped(validation=0.3, seed=seed)(cases)
        assert len(split.validation) == 3 and len(split.train) == 7  # an exact sum exists
        assert split == Grouped(validation=0.3, seed=seed)(cases[::-1])
        sides = [{patients[int(i)] for i in ids} for ids in (split.train, split.validation)]
        assert not sides[0] & sides[1]
    assert len({tuple(Grouped(validation=0.3, seed=s)(cases).validation) for s in range(20)}) > 5


@pytest.mark.parametrize(
    ("sizes", "fraction", "count"),
    [
        ([4, 4, 4], 0.2, 4),
        ([9, 1], 0.4, 1),
        ([5, 3, 2], 0.25, 2),
        ([6, 3, 3], 0.45, 6),
        ([1, 1], 0.01, 1),
    ],
)
def test_the_fraction_is_as_close_as_groups_allow(sizes: list[int], fraction: float, count: int) -> None:
    of = [str(group) for group, size in enumerate(sizes) for _ in range(size)]
    cases = some(*(f"c{i}" for i in range(len(of))), hospital=of)
    for seed in range(5):
        split = Grouped(column="hospital", validation=fraction, seed=seed)(cases)
        assert len(split.validation) == count


def test_proportions_are_kept() -> None:
    stages = ["t1"] * 50 + ["t2"] * 30 + ["t3"] * 15 + ["t4"] * 4 + ["tx"]
    cases = some(*(f"c{i:03d}" for i in range(100)), stage=stages)
    alone = set()
    for seed in range(20):
        split = Stratified("stage", 0.2, seed)(cases)
        counts = Counter(stages[int(i[1:])] for i in split.validation)
        assert len(split.validation) == 20 and split == Stratified("stage", 0.2, seed)(cases[::-1])
        assert (counts["t1"], counts["t2"], counts["t3"]) == (10, 6, 3)
        assert counts["t4"] + counts["tx"] == 1
        alone.add(counts["tx"])
    assert alone == {0, 1}  # the only case of a stratum is on one side, by chance


def test_a_column_holds_the_split() -> None:
    cases = some("a", "b", "c", "d", split=["train", "validation", "test", "train"])
    assert ColumnSplit()(cases) == Split(["a", "d"], ["b"], ["c"])
    with pytest.raises(
        ValueError, match="split.column=split: val must be one of train, validation, test"
    ):
        ColumnSplit()(some("a", "b", split=["train", "val"]))


@pytest.mark.parametrize("make", [Grouped, Stratified, ColumnSplit])
def test_a_column_without_values_is_refused(make: type) -> None:
    cases = some("a", "b", patient=["x", ""], target=["x", ""], split=["train", ""])
    with pytest.raises(ValueError, match=r"split.column=\w+: has no value for case b; add the values"):
        make()(cases)


def test_a_patient_is_on_one_side(tmp_path: Path) -> None:
    halves = ["train", "validation"] * 5
    cases = some(
        *(f"case_0000{i}" for i in range(10)), patient=["x"] * 10, split=halves, target=["a"] * 10
    )
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": [cases[0].id], "validation": [cases[1].id]}))
    for split in (
        Seeded(), MLPerf42(), KFold(), Stratified(), ColumnSplit(), Grouped("split"),
        FileSplit(str(path)),
    ):  # fmt: skip
        with pytest.raises(
            ValueError, match="patient x: has training and validation cases; set split=gr"
        ):
            split(cases)
    with pytest.raises(ValueError, match="has 10 training and 0 validation cases"):
        Grouped()(cases)


# ---- files


def test_the_split_of_a_run_and_those_of_nnunet(tmp_path: Path) -> None:
    path, cases = tmp_path / "split.json", some("a", "b", "c")
    path.write_text(json.dumps({"train": ["b", "a"], "validation": ["c"]}))
    assert FileSplit(str(path))(cases) == Split(["a", "b"], ["c"])
    path.write_text(json.dumps([{"train": ["b"], "val": ["a"]}, {"train": ["a", "c"], "val": ["b"]}]))
    assert FileSplit(str(path), fold=0)(cases) == Split(["b"], ["a"])  # c is left out
    assert FileSplit(str(path), fold=1)(cases) == Split(["a", "c"], ["b"])


@pytest.mark.parametrize(
    ("content", "fold", "text"),
    [
        ({"train": ["a"], "validation": ["b", "x"]}, None, "lists case x, which the data set lacks"),
        (
            {"train": ["a", "b"], "validation": ["b"]},
            None,
            "lists case b in two subsets; remove it from one",
        ),
        ({"train": ["a"], "validation": []}, None, "has 1 training and 0 validation cases"),
        ({"train": ["a"]}, None, "must contain a list of case ids as validation or val"),
        ({"train": [1], "val": ["b"]}, None, "must contain a list of case ids as train"),
        ({"train": ["a"], "val": ["b"]}, 0, "fold=0: .* holds one split; remove fold"),
        ([{"train": ["a"], "val": ["b"]}], None, "fold=None: must be 0 to 0, a split of"),
        ([{"train": ["a"], "val": ["b"]}], 1, "fold=1: must be 0 to 0"),
        (3, None, "must contain a list of case ids"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, content: object, fold: int | None, text: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=text) as error:
        FileSplit(str(path), fold)(some("a", "b"))
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="path=.*none.json: cannot be read .*; set another file"):
        FileSplit(str(tmp_path / "none.json"))


# ---- test cases


def with_columns() -> list[Case]:
    """Return 40 cases of 20 patients."""
    return some(*IDS[:40], patient=[f"p{i // 2}" for i in range(40)])


def test_test_cases_are_those_of_a_share_of_the_patients() -> None:
    cases = with_columns()
    for seed in range(5):
        split = Grouped(seed=seed, test=0.2)(cases)
        assert sorted(split.train + split.validation + split.test) == IDS[:40]
        assert len(split.test) == 8  # both cases of 4 patients
        assert split == Grouped(seed=seed, test=0.2)(cases[::-1])
        check_patients(split, cases)


@pytest.mark.parametrize("make", [Seeded, KFold, Grouped, Stratified])
def test_every_random_split_sets_test_cases_aside(make: Callable[..., Any]) -> None:
    names = [f"p{i}" for i in range(20)]
    cases = some(*IDS[:20], patient=names, target=["present", "absent"] * 10)
    split, former = make(seed=1, test=0.25)(cases), make(seed=1)(cases)
    assert sorted(split.train + split.validation + split.test) == IDS[:20] and len(split.test) == 5
    assert make(seed=1, test=0)(cases) == former and former.test == []
    assert make(seed=2, test=0.25)(cases).test != split.test
    with pytest.raises(ValueError, match="test=1.0: must be at least 0 and below 1"):
        make(test=1.0)


def test_all_folds_have_the_same_test_cases() -> None:
    folds = [KFold(folds=4, fold=i, test=0.2)(KITS19) for i in range(4)]
    assert {tuple(split.test) for split in folds} == {tuple(folds[0].test)} and len(folds[0].test) == 42
    assert sorted([*folds[0].test, *sum((split.validation for split in folds), [])]) == IDS


def test_without_test_cases_the_split_is_the_former_one() -> None:
    """The first validation cases of the default split, as of version 0.1."""
    assert Seeded()(KITS19) == Seeded(test=0.0)(KITS19)
    assert Seeded()(KITS19).validation == sorted(
        np.random.default_rng(42).permutation(IDS).tolist()[:42]
    )


def test_a_file_keeps_its_test_cases(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps(asdict(Seeded(test=0.2)(KITS19))))
    assert FileSplit(str(path))(KITS19) == Seeded(test=0.2)(KITS19)
    path.write_text(json.dumps({"train": ["a"], "validation": ["b"], "test": ["a"]}))
    with pytest.raises(ValueError, match="lists case a in two subsets; remove it from one"):
        FileSplit(str(path))


def test_too_few_cases_for_three_parts() -> None:
    with pytest.raises(ValueError, match="the split of 1 cases has 0 training and 1 validation cases"):
        Seeded(test=0.5)(KITS19[:2])
    with pytest.raises(ValueError, match="patient x: has training and test cases"):
        check_patients(Split(["a"], ["b"], ["c"]), some("a", "b", "c", patient=["x", "y", "x"]))
