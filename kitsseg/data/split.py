"""Split cases into training, validation and test cases."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from kitsseg.data.case import SPLIT, TEST, Case, shown

# Validation cases of MLPerf's 3D U-Net benchmark (mlcommons/training, image_segmentation).
MLPERF_VALIDATION = (
    0, 3, 5, 6, 12, 24, 34, 41, 44, 49, 52, 56, 61, 65, 66, 70, 76, 78, 80, 84, 86, 87, 92, 111, 112,
    125, 128, 138, 157, 160, 161, 162, 169, 171, 176, 185, 187, 189, 198, 203, 206, 207,
)  # fmt: skip


@dataclass(frozen=True)
class Split:
    """Sorted, disjoint case ids."""

    train: list[str]
    validation: list[str]
    test: list[str] = field(default_factory=list)


# Columns of the cases. In training, `target` is `present` or `absent`, by the labels.
PATIENT, TARGET = "patient", "target"
TRAIN, VALIDATION = "train", "validation"
PARTS = (TRAIN, VALIDATION, TEST)  # values of the column `split`


def check_patients(split: Split, cases: Iterable[Case]) -> None:
    """Raise `ValueError` if the cases of a patient (column ``patient``) are in several subsets."""
    patients = {case.id: case.about[PATIENT] for case in cases if case.about.get(PATIENT)}
    sides = {"training": split.train, "validation": split.validation, "test": split.test}
    found = {side: {patients[name] for name in ids if name in patients} for side, ids in sides.items()}
    for first, second in combinations(found, 2):
        if both := sorted(found[first] & found[second]):
            remedy = "put all cases of a patient into one subset"
            if second != "test":
                remedy = f"set split=grouped, or {remedy}"
            raise ValueError(f"patient {shown(both)}: has {first} and {second} cases; {remedy}")


def _divide(
    cases: Sequence[Case],
    validation: Collection[str],
    train: Collection[str] | None = None,
    test: Iterable[str] = (),
) -> Split:
    """Return the split with these validation cases; the others, or ``train``, are training cases."""
    ids = {case.id for case in cases}
    rest = ids - set(validation) if train is None else set(train)
    split = Split(sorted(rest), sorted(ids & set(validation)), sorted(test))
    if not split.train or not split.validation:
        raise ValueError(
            f"the split of {len(ids)} cases has {len(split.train)} training and {len(split.validation)} "
            "validation cases; both must be at least 1: use more cases or another split"
        )
    check_patients(split, cases)
    return split


def _hold_out(
    cases: Sequence[Case], share: float, seed: int, column: str = PATIENT
) -> tuple[Sequence[Case], list[str]]:
    """Return the cases for training and validation, and the ids of the test cases.

    A share of the patients, or of the values of another column, is drawn by ``seed``, and all of their
    cases become test cases. A case without a value is a patient of its own.
    """
    if share == 0:
        return cases, []
    value_of = {case.id: case.about.get(column) or case.id for case in cases}
    values = _shuffled(set(value_of.values()), (seed, 1))
    drawn = set(values[: max(1, round(share * len(values)))])
    test = [name for name, value in value_of.items() if value in drawn]
    return [case for case in cases if value_of[case.id] not in drawn], test


def _shuffled(names: Iterable[str], seed: int | tuple[int, int]) -> list[str]:
    shuffled: list[str] = np.random.default_rng(seed).permutation(sorted(names)).tolist()
    return shuffled


def _by_column(cases: Sequence[Case], column: str) -> dict[str, str]:
    """Return the value of a column for each case id."""
    values = {case.id: case.about.get(column, "") for case in cases}
    if lacking := sorted(name for name, value in values.items() if not value):
        raise ValueError(
            f"split.column={column}: has no value for case {shown(lacking)}; add the values to the "
            "table (data=table), or set another split"
        )
    return values


def _check_draw(seed: int, test: float) -> None:
    if seed < 0:
        raise ValueError(f"seed={seed}: must be at least 0")
    if not 0 <= test < 1:
        raise ValueError(f"test={test}: must be at least 0 and below 1")


class Seeded:
    """Random split with the fraction ``validation`` of validation cases; the paper uses 42 of 210.

    ``test`` is the fraction of the patients whose cases become test cases before the split, as in the
    other random splits.
    """

    def __init__(self, validation: float = 0.2, seed: int = 42, test: float = 0.0) -> None:
        if not 0 < validation < 1:
            raise ValueError(f"validation={validation}: must be above 0 and below 1")
        _check_draw(seed, test)
        self.validation, self.seed, self.test = validation, seed, test

    def __call__(self, cases: Sequence[Case]) -> Split:
        cases, test = _hold_out(cases, self.test, self.seed)
        count = max(1, round(self.validation * len(cases)))
        chosen = _shuffled((case.id for case in cases), self.seed)[:count]
        return _divide(cases, chosen, test=test)


class MLPerf42:
    """The fixed split of MLPerf (168 and 42 cases), restricted to the given cases."""

    def __call__(self, cases: Sequence[Case]) -> Split:
        return _divide(cases, {f"case_{number:05d}" for number in MLPERF_VALIDATION})


class KFold:
    """Fold ``fold`` of a cross-validation: each case is a validation case in exactly one fold.

    The ``test`` cases are the same for all folds.
    """

    def __init__(self, folds: int = 5, fold: int = 0, seed: int = 42, test: float = 0.0) -> None:
        _check_draw(seed, test)
        if folds < 2:
            raise ValueError(f"folds={folds}: must be at least 2")
        if not 0 <= fold < folds:
            raise ValueError(f"fold={fold}: must be between 0 and {folds - 1} (folds={folds})")
        self.folds, self.fold, self.seed, self.test = folds, fold, seed, test

    def __call__(self, cases: Sequence[Case]) -> Split:
        cases, test = _hold_out(cases, self.test, self.seed)
        shuffled = _shuffled((case.id for case in cases), self.seed)
        return _divide(cases, shuffled[self.fold :: self.folds], test=test)


class Grouped(Seeded):
    """Random split that keeps the cases with one value of ``column`` together.

    The number of validation cases is as close to the fraction ``validation`` as whole groups allow.
    ``test`` is a share of the groups.
    """

    def __init__(
        self, column: str = PATIENT, validation: float = 0.2, seed: int = 42, test: float = 0.0
    ) -> None:
        super().__init__(validation, seed, test)
        self.column = column

    def __call__(self, cases: Sequence[Case]) -> Split:
        group_of = _by_column(cases, self.column)
        cases, test = _hold_out(cases, self.test, self.seed, self.column)
        groups: dict[str, list[str]] = defaultdict(list)
        for case in cases:
            groups[group_of[case.id]].append(case.id)
        target = self.validation * len(cases)
        # Number of validation cases: the first choice of groups with that number.
        chosen: dict[int, tuple[str, ...]] = {0: ()}
        for group in _shuffled(groups, self.seed):
            for count, names in list(chosen.items()):
                if (larger := count + len(groups[group])) not in chosen and count < target:
                    chosen[larger] = (*names, *groups[group])
        counts = (count for count in chosen if 0 < count < len(cases))
        best = min(counts, key=lambda count: (abs(count - target), count), default=0)
        return _divide(cases, chosen[best], test=test)


class Stratified(Seeded):
    """Random split with equal proportions of the values of ``column`` in both subsets.

    Of the cases with each value, the fraction ``validation`` become validation cases, rounded up or down
    so that their total is the same as with `Seeded`. Chance decides to which subset a value belongs that
    only one case has.
    """

    def __init__(
        self, column: str = TARGET, validation: float = 0.2, seed: int = 42, test: float = 0.0
    ) -> None:
        super().__init__(validation, seed, test)
        self.column = column

    def __call__(self, cases: Sequence[Case]) -> Split:
        cases, test = _hold_out(cases, self.test, self.seed)
        value_of = _by_column(cases, self.column)
        shuffled = _shuffled(value_of, self.seed)
        values = list(dict.fromkeys(value_of[name] for name in shuffled))
        shuffled.sort(key=lambda name: values.index(value_of[name]))
        total, count = len(shuffled), max(1, round(self.validation * len(shuffled)))
        # Equally spaced indices, so that each stratum gets its share, rounded.
        places = (i for i in range(total) if (i + 1) * count // total > i * count // total)
        return _divide(cases, {shuffled[i] for i in places}, test=test)


class ColumnSplit:
    """Split by a column with the values train, validation and test."""

    def __init__(self, column: str = SPLIT) -> None:
        self.column = column

    def __call__(self, cases: Sequence[Case]) -> Split:
        side_of = _by_column(cases, self.column)
        if wrong := sorted(set(side_of.values()) - {*PARTS}):
            options = ", ".join(PARTS)
            raise ValueError(f"split.column={self.column}: {wrong[0]} must be one of {options}")
        ids = {part: [name for name, value in side_of.items() if value == part] for part in PARTS}
        return _divide(cases, ids[VALIDATION], ids[TRAIN], ids[TEST])


class FileSplit:
    """The split in a JSON file: a run's ``split.json``, or nnU-Net's ``splits_final.json``.

    Args:
        path: the file. It lists all cases that are used; other cases are left out.
        fold: number of a split in nnU-Net's list; None for a file with one split.
    """

    def __init__(self, path: str, fold: int | None = None) -> None:
        self.path = Path(path).expanduser()
        try:
            content = json.loads(self.path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise ValueError(f"path={path}: cannot be read ({error}); set another file") from error
        if isinstance(content, list):
            if fold is None or not 0 <= fold < len(content):
                raise ValueError(f"fold={fold}: must be 0 to {len(content) - 1}, a split of {path}")
            content = content[fold]
        elif fold is not None:
            raise ValueError(f"fold={fold}: {path} holds one split; remove fold")
        self.train = _ids_in(content, (TRAIN,), self.path)
        self.validation = _ids_in(content, (VALIDATION, "val"), self.path)
        self.test = _ids_in(content, (TEST,), self.path) if TEST in content else []
        for first, second in combinations((self.train, self.validation, self.test), 2):
            if both := sorted({*first} & {*second}):
                raise ValueError(
                    f"path={path}: lists case {shown(both)} in two subsets; remove it from one"
                )

    def __call__(self, cases: Sequence[Case]) -> Split:
        listed = {*self.train, *self.validation}
        if unknown := sorted(listed - {case.id for case in cases}):
            raise ValueError(
                f"{self.path}: lists case {shown(unknown)}, which the data set lacks, or which is a "
                "test, skipped or excluded case; remove it from the file"
            )
        return _divide(cases, self.validation, self.train, self.test)


def _ids_in(content: Any, names: tuple[str, ...], path: Path) -> list[str]:
    found = [content[n] for n in names if n in content] if isinstance(content, Mapping) else []
    if (
        len(found) != 1
        or not isinstance(found[0], list)
        or not all(isinstance(i, str) for i in found[0])
    ):
        raise ValueError(f"path={path}: must contain a list of case ids as {' or '.join(names)}")
    return found[0]
