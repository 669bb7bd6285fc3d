"""Find the cases of a folder in the layout of KiTS19, KiTS21 or KiTS23."""

from collections.abc import Sequence
from pathlib import Path

from kitsseg.data.case import IMAGE_NAME, LABEL_NAME, SAME_CLASSES, Case, case_folders, volume_in
from kitsseg.data.labels import BACKGROUND, CLASSES
from kitsseg.data.sources.case_numbers import CaseNumbers, parse_ranges
from kitsseg.system.obstacles import is_file, obstacle

LABELLED, TEST = range(210), range(210, 300)  # the labels of the test cases are not published
NUMBERS = CaseNumbers(tuple(LABELLED), tuple(TEST))


def missing_files(case: Case, needs_label: bool = True) -> list[str]:
    """Return one message per file of a case that is missing or cannot be accessed."""
    messages = []
    for path, is_needed in ((case.image, True), (case.label, needs_label)):
        if is_file(path):
            continue
        if (problem := obstacle(path)) is not None:
            messages.append(f"{path}: {problem}")
        elif is_needed:
            is_partial = path.with_name(f".{path.name}.part").exists()
            detail = " (partial download)" if is_partial else ""
            messages.append(f"{path}: is missing{detail}; {how_to_fetch(case)}")
    return messages


def how_to_fetch(case: Case) -> str:
    """Return where the files of a case come from."""
    if case.origin is not None:
        return f"see {case.origin}"
    if number_of(case) not in NUMBERS.all:
        return f"kitsseg.download provides cases {NUMBERS} only"
    return f"run python -m kitsseg.download root=DIR cases={number_of(case)}"


def number_of(case: Case) -> int:
    """Return the number of a case, such as 42 for ``case_00042``."""
    return int(case.id.removeprefix("case_"))


def list_cases(root: Path) -> list[Case]:
    """Return the cases below ``root`` that have an image and a label, sorted by id."""
    cases = [Case(f.name, f / IMAGE_NAME, f / LABEL_NAME) for f in case_folders(root)]
    return [c for c in cases if is_file(c.image) and is_file(c.label)]


def parse_cases(cases: object) -> list[int]:
    """Return the selected case numbers of KiTS19; see `CaseNumbers.choose`."""
    return NUMBERS.choose(cases)


class Kits19:
    """A folder in the layout of KiTS19, KiTS21 or KiTS23.

    Args:
        label_name: name of the label file in a case folder.
        classes: ``classes[v]`` is the class id of the value ``v`` in a label file.
        test: range of the cases without labels; None if all have labels.
        numbers: ranges of all cases, including ``test``.
        origin: page that describes how to get the data; None if `kitsseg.download` fetches them.
        offset_hu: added to every voxel of the images; -1024 for CT stored as unsigned numbers.

    Raises:
        ValueError: ``classes``, ``test`` or ``numbers`` is wrong.
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
        labelled = tuple(sorted(set(known) - set(unlabelled)))
        self.numbers = CaseNumbers(labelled, tuple(unlabelled))
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
        return number_of(case) in self.numbers.test

    def find(self, root: str | Path) -> list[Case]:
        """Return the training cases below ``root``: all case folders except unlabelled test cases.

        `kitsseg.data.store.prepare` reports the files that a training case lacks.

        Raises:
            ValueError: no case has an image and a label.
        """
        root = Path(root).expanduser()
        cases = [c for c in self.cases(root) if not self.is_test(c) or is_file(c.label)]
        if any(is_file(c.image) and is_file(c.label) for c in cases):
            return cases
        problem = "does not exist"
        if root.is_dir():
            problem = f"contains no folder case_XXXXX with {IMAGE_NAME} and {self.label_name}"
        remedy = f"run python -m kitsseg.download root={root} (about 25 GB)"
        if self.origin is not None:
            remedy = f"see {self.origin}"
        raise ValueError(f"data.root={root}: {problem}; {remedy}, or set data=phantom for a trial")
