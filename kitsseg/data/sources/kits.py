"""Find the cases of a folder in the layout of KiTS19, KiTS21 or KiTS23, and select them by number."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kitsseg.data.case import (
    IMAGE_NAME,
    LABEL_NAME,
    Case,
    case_folders,
    case_number,
    is_id,
    volume_in,
)
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.sources.source import Source
from kitsseg.system.obstacles import is_file, obstacle

RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


@dataclass(frozen=True)
class CaseNumbers:
    """Case numbers of a data set, in ascending order: with labels, and without published labels."""

    labelled: tuple[int, ...]
    test: tuple[int, ...] = ()

    @property
    def all(self) -> tuple[int, ...]:
        """All case numbers, in ascending order."""
        return tuple(sorted((*self.labelled, *self.test)))

    def choose(self, cases: object) -> list[int]:
        """Return the selected case numbers in ascending order.

        ``cases`` is ``labelled``, ``test``, ``all``, a number, a range (``0-41``), an id, or a list.
        Raises `ValueError` if the selection is malformed, empty, or outside the data set.
        """
        if isinstance(cases, list):
            if not cases:
                raise ValueError("cases=[]: must contain at least one case")
            return sorted({number for item in cases for number in self.choose(item)})
        if isinstance(cases, str) and (number := case_number(cases)) is not None:
            cases = number
        named = {"labelled": self.labelled, "test": self.test, "all": self.all}
        if isinstance(cases, str) and cases in named:
            if not named[cases]:
                raise ValueError(f"cases={cases}: this source has no such cases")
            return list(named[cases])
        try:
            chosen = parse_ranges([str(cases)])
        except ValueError as error:
            forms = f"{', '.join(named)}, a number, a range (0-41) or a list of these"
            raise ValueError(f"cases={cases}: must be {forms}") from error
        if not {chosen[0], chosen[-1]} <= set(self.all):
            raise ValueError(f"cases={cases}: must be within {self}")
        return sorted(set(chosen) & set(self.all))

    def __str__(self) -> str:
        """Return the numbers as ranges, such as ``0-299 or 400-588``."""
        numbers = set(self.all)
        firsts = sorted(numbers - {n + 1 for n in numbers})
        lasts = sorted(numbers - {n - 1 for n in numbers})
        return " or ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in zip(firsts, lasts, strict=True))


def parse_ranges(texts: Sequence[str]) -> list[int]:
    """Return the numbers of ranges such as ``0-299``, ascending; raise `ValueError` for other texts."""
    numbers: set[int] = set()
    for text in texts:
        match = RANGE.fullmatch(text)
        span = range(0) if match is None else range(int(match[1]), int(match[2] or match[1]) + 1)
        if not span:
            raise ValueError(f"{text!r} must be a case number or an ascending range such as 0-299")
        numbers.update(span)
    return sorted(numbers)


NUMBERS = CaseNumbers(tuple(range(210)), tuple(range(210, 300)))  # of KiTS19
ALL_EDITIONS = CaseNumbers((*NUMBERS.labelled, *range(400, 589)), NUMBERS.test)  # of KiTS19, 21, 23
parse_cases = NUMBERS.choose


def missing_files(case: Case) -> list[str]:
    """Return one message per file of a case that is missing or cannot be accessed."""
    number = case_number(case.id) if is_id(case.id) else None
    if case.origin is not None:
        remedy = f"see {case.origin}"
    elif number in NUMBERS.all:
        root = case.image.parent.parent
        remedy = f"add it, or for KiTS19 run python -m kitsseg.download root={root} cases={number}"
    else:
        remedy = "add it" if number is None else f"kitsseg.download provides cases {NUMBERS} only"
    messages = []
    for path in (case.image, case.label):
        if path is None:
            continue
        if (problem := obstacle(path)) is not None:
            messages.append(f"{path}: {problem}")
        elif not is_file(path):
            is_partial = path.with_name(f".{path.name}.part").exists()
            messages.append(f"{path}: is missing{' (partial download)' * is_partial}; {remedy}")
    return messages


def list_cases(root: Path, labels: Labels = KITS19) -> list[Case]:
    """Return the cases below ``root`` that have an image and a label, sorted by id."""
    files = [(f.name, f / IMAGE_NAME, f / LABEL_NAME) for f in case_folders(root)]
    return [Case(*case, labels.stored) for case in files if is_file(case[1]) and is_file(case[2])]


class Kits19(Source):
    """A folder in the layout of KiTS19, KiTS21 or KiTS23.

    Args:
        label_name: name of the label file in a case folder.
        extra_values: class names of further values in the label files, which ``labels`` does not list.
        test: range of the cases without labels; None if all have labels.
        numbers: ranges of all cases, including ``test``.
        origin: page that describes how to get the data; None if `kitsseg.download` fetches them.
        offset_hu: added to every voxel of the images; -1024 for CT stored as unsigned numbers.
    """

    def __init__(
        self,
        label_name: str = LABEL_NAME,
        extra_values: Mapping[int, str] = MappingProxyType({}),
        test: str | None = None,
        numbers: Sequence[str] = ("0-299",),
        origin: str | None = None,
        offset_hu: int = 0,
    ) -> None:
        super().__init__(offset_hu)
        self.label_name, self.origin = label_name, origin
        self.extra_values = {int(value): name for value, name in extra_values.items()}
        known, unlabelled = parse_ranges(numbers), parse_ranges([] if test is None else [test])
        if not set(unlabelled) <= set(known):
            raise ValueError(f"test={test}: must be within numbers={list(numbers)}")
        self.numbers = CaseNumbers(tuple(sorted(set(known) - set(unlabelled))), tuple(unlabelled))

    def stored(self, labels: Labels) -> dict[int, int]:
        """Return the class id of each value in the label files."""
        extra = {v: name for v, name in self.extra_values.items() if v not in labels.stored}
        if unknown := set(extra.values()) - set(labels.classes):
            classes = ", ".join(labels.classes)
            raise ValueError(
                f"extra_values: {min(unknown)} must be one of {classes}; or name the values "
                f"{', '.join(map(str, sorted(extra)))} in labels.values"
            )
        return labels.stored | {value: labels.classes.index(name) for value, name in extra.items()}

    @property
    def options(self) -> list[Any]:
        """What changes how files are read, apart from the labels: part of the key of a store."""
        own = [self.label_name, sorted(self.extra_values.items())]
        return super().options + (own if own != [LABEL_NAME, []] else [])

    def cases(self, root: str | Path, labels: Labels = KITS19) -> list[Case]:
        """Return all case folders below ``root`` as cases, sorted by id. Files may be missing."""
        return [self.case(folder, labels) for folder in case_folders(Path(root).expanduser())]

    def case(self, folder: Path, labels: Labels = KITS19) -> Case:
        """Return the case of a folder. The folder and its files may be missing."""
        image, label = volume_in(folder, IMAGE_NAME), volume_in(folder, self.label_name)
        is_unlabelled = self._is_test(folder.name) and not is_file(label) and not obstacle(label)
        own_label = None if is_unlabelled else label
        return Case(folder.name, image, own_label, self.stored(labels), self.origin, self.offset_hu)

    def choose(self, cases: object) -> list[str]:
        """Return the case ids that ``cases`` selects; see `CaseNumbers.choose`."""
        return [f"case_{number:05d}" for number in self.numbers.choose(cases)]

    def select(self, found: Sequence[Case], ids: Sequence[str], labels: Labels = KITS19) -> list[Case]:
        """Return the cases with these ids, in the folder of the found ones. Files may be missing."""
        return [self.case(found[0].image.parents[1] / name, labels) for name in ids]

    def find(self, root: str | Path, labels: Labels = KITS19) -> list[Case]:
        """Return the training cases below ``root``: all case folders except unlabelled test cases.

        `kitsseg.data.store.prepare` reports the files that a training case lacks. Raises `ValueError`
        if no case has an image and a label.
        """
        root = Path(root).expanduser()
        cases = [c for c in self.cases(root, labels) if _has_label(c) or not self._is_test(c.id)]
        if any(is_file(c.image) and _has_label(c) for c in cases):
            return cases
        problem = "does not exist"
        if (root / "dataset.json").is_file():
            raise ValueError(f"{root}: has nnU-Net's layout; set data=nnunet labels=nnunet")
        if root.is_dir():
            problem = f"contains no folder case_XXXXX with {IMAGE_NAME} and {self.label_name}"
        command = f"run python -m kitsseg.download root={root} (about 25 GB)"
        remedy = command if self.origin is None else f"see {self.origin}"
        raise ValueError(f"data.root={root}: {problem}; {remedy}, or set data=phantom for a trial")

    def _is_test(self, case: str) -> bool:
        return int(case.removeprefix("case_")) in self.numbers.test


def _has_label(case: Case) -> bool:
    return case.label is not None and is_file(case.label)
