"""Find the cases of a folder in the layout of KiTS19 and its successors."""

from collections.abc import Sequence
from pathlib import Path

from kitsseg.data.case import IMAGE_NAME, LABEL_NAME, SAME_CLASSES, Case, case_folders
from kitsseg.data.labels import BACKGROUND, CLASSES
from kitsseg.data.sources.case_numbers import Numbers, spans
from kitsseg.system.obstacles import is_file, obstacle

LABELLED, TEST = range(210), range(210, 300)  # the labels of the challenge's test cases aren't public
NUMBERS = Numbers(tuple(LABELLED), tuple(TEST))


def lacking(case: Case, needs_label: bool = True) -> list[str]:
    """A line for each of a case's files that isn't there, or can't be looked at."""
    lines = []
    for path, needed in ((case.image, True), (case.label, needs_label)):
        if is_file(path):
            continue
        if (problem := obstacle(path)) is not None:
            lines.append(f"{path}: {problem}")
        elif needed:
            begun = path.with_name(f".{path.name}.part").exists()
            cut = " (its download was cut off)" if begun else ""
            lines.append(f"{path}: is missing{cut}; {fetching(case)}")
    return lines


def fetching(case: Case) -> str:
    """What fetches a case's files."""
    if case.origin is not None:
        return f"{case.origin} says how to fetch it"
    if number_of(case) not in NUMBERS.all:
        return f"kitsseg.download has {NUMBERS} alone: get it where the case came from"
    return f"python -m kitsseg.download root=DIR cases={number_of(case)} fetches it"


def number_of(case: Case) -> int:
    """42 of ``case_00042``."""
    return int(case.id.removeprefix("case_"))


def list_cases(root: Path) -> list[Case]:
    """The cases below ``root`` that have both an image and a label, sorted by id."""
    cases = [Case(f.name, f / IMAGE_NAME, f / LABEL_NAME) for f in case_folders(root)]
    return [c for c in cases if is_file(c.image) and is_file(c.label)]


def parse_cases(cases: object) -> list[int]:
    """Numbers of KiTS19's cases; see `Numbers.choose`."""
    return NUMBERS.choose(cases)


class Kits19:
    """A folder in the layout of KiTS19's repository: ``data=kits19``, or of its successors.

    Args:
        label_name: the label file in a case's folder.
        classes: ``classes[stored]`` is the class id that a number in it means.
        test: the cases that have no labels, a range; None if all have.
        numbers: ranges of the cases that there are, those of ``test`` among them.
        origin: the page that says how to get what is missing; None: `kitsseg.download` fetches it.

    Raises:
        ValueError: ``classes``, ``test`` or ``numbers`` is out of its range.
    """

    def __init__(
        self,
        label_name: str = LABEL_NAME,
        classes: Sequence[int] = SAME_CLASSES,
        test: str | None = None,
        numbers: Sequence[str] = ("0-299",),
        origin: str | None = None,
    ) -> None:
        if not set(SAME_CLASSES) <= set(classes) <= set(range(len(CLASSES))):
            raise ValueError(
                f"classes={list(classes)}: must give each of {list(SAME_CLASSES)}, no other"
            )
        if classes[0] != BACKGROUND:
            raise ValueError(f"classes={list(classes)}: must begin with {BACKGROUND}, the background")
        self.label_name, self.classes = label_name, tuple(classes)
        known, unlabelled = spans(numbers), spans([] if test is None else [test])
        if not set(unlabelled) <= set(known):
            raise ValueError(f"test={test}: must lie in numbers={list(numbers)}")
        self.numbers = Numbers(tuple(n for n in known if n not in set(unlabelled)), tuple(unlabelled))
        self.origin = origin

    def cases(self, root: Path) -> list[Case]:
        """All cases that have a folder, whether their files are there or not, sorted by id."""
        return [self.case(folder) for folder in case_folders(root)]

    def case(self, folder: Path) -> Case:
        """The case of that folder, which may lack files or not be there."""
        image, label = folder / IMAGE_NAME, folder / self.label_name
        return Case(folder.name, image, label, self.classes, self.origin)

    def is_test(self, case: Case) -> bool:
        """Whether nobody has the labels of a case."""
        return number_of(case) in self.numbers.test

    def find(self, root: str | Path) -> list[Case]:
        """Return the training cases below ``root``: all case folders except unlabelled test cases.

        `kitsseg.data.store.prepare` reports the files that a training case lacks.

        Raises:
            ValueError: none has image and label; the message says how to get them.
        """
        root = Path(root).expanduser()
        cases = [c for c in self.cases(root) if not self.is_test(c) or is_file(c.label)]
        if any(is_file(c.image) and is_file(c.label) for c in cases):
            return cases
        lacks = "does not exist"
        if root.is_dir():
            lacks = f"holds no case_XXXXX folder with both {IMAGE_NAME} and {self.label_name}"
        comes = f"KiTS19 comes with `python -m kitsseg.download root={root}` (about 25 GB)"
        if self.origin is not None:
            comes = f"{self.origin} says how to fetch its cases"
        raise ValueError(f"data.root={root} {lacks}. {comes}. To try kitsseg without: data=phantom")
