"""Find the cases of a folder in the layout of KiTS19, KiTS21 or KiTS23, and select them by number."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kitsseg.data.case import IMAGE_NAME, LABEL_NAME, SAME_CLASSES, Case, case_folders, volume_in
from kitsseg.data.labels import BACKGROUND, CLASSES
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

        ``cases`` is ``labelled``, ``test``, ``all``, a number, a range (``0-41``) or a list of these.
        Raises `ValueError` if the selection is malformed, empty, or outside the data set.
        """
        if isinstance(cases, list):
            if not cases:
                raise ValueError("cases=[]: must contain at least one case")
            return sorted({number for item in cases for number in self.choose(item)})
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
parse_cases = NUMBERS.choose


def missing_files(case: Case, needs_label: bool = True) -> list[str]:
    """Return one message per file of a case that is missing or cannot be accessed."""
    number = int(case.id.removeprefix("case_"))
    remedy = f"run python -m kitsseg.download root=DIR cases={number}"
    if case.origin is not None:
        remedy = f"see {case.origin}"
    elif number not in NUMBERS.all:
        remedy = f"kitsseg.download provides cases {NUMBERS} only"
    messages = []
    for path, is_needed in ((case.image, True), (case.label, needs_label)):
        if (problem := obstacle(path)) is not None:
            messages.append(f"{path}: {problem}")
        elif is_needed and not is_file(path):
            is_partial = path.with_name(f".{path.name}.part").exists()
            messages.append(f"{path}: is missing{' (partial download)' * is_partial}; {remedy}")
    return messages


def list_cases(root: Path) -> list[Case]:
    """Return the cases below ``root`` that have an image and a label, sorted by id."""
    cases = [Case(f.name, f / IMAGE_NAME, f / LABEL_NAME) for f in case_folders(root)]
    return [c for c in cases if is_file(c.image) and is_file(c.label)]


class Kits19:
    """A folder in the layout of KiTS19, KiTS21 or KiTS23.

    Args:
        label_name: name of the label file in a case folder.
        classes: ``classes[v]`` is the class id of the value ``v`` in a label file.
        test: range of the cases without labels; None if all have labels.
        numbers: ranges of all cases, including ``test``.
        origin: page that describes how to get the data; None if `kitsseg.download` fetches them.
        offset_hu: added to every voxel of the images; -1024 for CT stored as unsigned numbers.
    """

    def __init__(
        self,
        label_name: str = LABEL_NAME,
        classes: Sequence[int] = SAME_CLASSES,
        test: str | None = None,
        numbers: Sequence[str] = ("0-299",),
        origin: str | None = None,
        offset_hu: int = 0,
    ) -> None:
        if not set(SAME_CLASSES) <= set(classes) <= set(range(len(CLASSES))):
            raise ValueError(f"classes={list(classes)}: must contain {list(SAME_CLASSES)} and no others")
        if classes[0] != BACKGROUND:
            raise ValueError(f"classes={list(classes)}: must begin with {BACKGROUND}, the background")
        self.label_name, self.classes = label_name, tuple(classes)
        known, unlabelled = parse_ranges(numbers), parse_ranges([] if test is None else [test])
        if not set(unlabelled) <= set(known):
            raise ValueError(f"test={test}: must be within numbers={list(numbers)}")
        self.numbers = CaseNumbers(tuple(sorted(set(known) - set(unlabelled))), tuple(unlabelled))
        self.origin, self.offset_hu = origin, offset_hu

    def cases(self, root: Path) -> list[Case]:
        """Return all case folders below ``root`` as cases, sorted by id. Files may be missing."""
        return [self.case(folder) for folder in case_folders(root)]

    def case(self, folder: Path) -> Case:
        """Return the case of a folder. The folder and its files may be missing."""
        image, label = volume_in(folder, IMAGE_NAME), volume_in(folder, self.label_name)
        return Case(folder.name, image, label, self.classes, self.origin, self.offset_hu)

    def is_test(self, case: Case) -> bool:
        """Return whether the labels of a case are unpublished."""
        return int(case.id.removeprefix("case_")) in self.numbers.test

    def find(self, root: str | Path) -> list[Case]:
        """Return the training cases below ``root``: all case folders except unlabelled test cases.

        `kitsseg.data.store.prepare` reports the files that a training case lacks. Raises `ValueError`
        if no case has an image and a label.
        """
        root = Path(root).expanduser()
        cases = [c for c in self.cases(root) if not self.is_test(c) or is_file(c.label)]
        if any(is_file(c.image) and is_file(c.label) for c in cases):
            return cases
        problem = "does not exist"
        if root.is_dir():
            problem = f"contains no folder case_XXXXX with {IMAGE_NAME} and {self.label_name}"
        command = f"run python -m kitsseg.download root={root} (about 25 GB)"
        remedy = command if self.origin is None else f"see {self.origin}"
        raise ValueError(f"data.root={root}: {problem}; {remedy}, or set data=phantom for a trial")
