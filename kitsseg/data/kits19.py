"""KiTS19's folder layout: which cases a folder holds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kitsseg.labels import BACKGROUND, CLASSES, KIDNEY, TUMOUR

CASE_FOLDER = re.compile(r"case_\d{5}")
IMAGE_NAME, LABEL_NAME = "imaging.nii.gz", "segmentation.nii.gz"
CLINICAL_NAME = "kits.json"
LABELLED, TEST = range(210), range(210, 300)  # the labels of the challenge's test cases aren't public
NAMED = {"labelled": LABELLED, "test": TEST, "all": range(300)}


SAME_CLASSES = (BACKGROUND, KIDNEY, TUMOUR)


@dataclass(frozen=True)
class Case:
    """One patient: an id such as ``case_00042`` and the two files that belong to it.

    ``classes[stored]`` is the class id that a number in the label file means.
    """

    id: str
    image: Path
    label: Path
    classes: tuple[int, ...] = SAME_CLASSES


def case_folders(root: Path) -> list[Path]:
    """The folders of cases below ``root`` (or its ``data/`` or ``dataset/``, as in checkouts), by id."""
    for folder in (root, root / "data", root / "dataset"):
        if folder.is_dir():
            cases = [f for f in folder.iterdir() if CASE_FOLDER.fullmatch(f.name) and f.is_dir()]
            if cases:
                return sorted(cases)
    return []


def lacking(case: Case, needs_label: bool = True) -> list[str]:
    """A line for each of a case's files that isn't there, with what fetches it."""
    lines = []
    if not case.image.exists():
        cut_off = case.image.with_name(f".{case.image.name}.part").exists()
        lacks = f"is missing{' (its download was cut off)' if cut_off else ''}"
        number = int(case.id.removeprefix("case_"))
        lines.append(
            f"{case.image}: {lacks}; python -m kitsseg.download root=DIR cases={number} fetches it"
        )
    if needs_label and not case.label.exists():
        lines.append(f"{case.label}: is missing; fetch it again")
    return lines


def is_id(name: str) -> bool:
    """Whether ``name`` is a case's, such as ``case_00042``."""
    return CASE_FOLDER.fullmatch(name) is not None


def list_cases(root: Path) -> list[Case]:
    """The cases below ``root`` that have both an image and a label, sorted by id."""
    cases = [Case(f.name, f / IMAGE_NAME, f / LABEL_NAME) for f in case_folders(root)]
    return [c for c in cases if c.image.is_file() and c.label.is_file()]


def parse_cases(cases: object) -> list[int]:
    """Case numbers from ``labelled``, ``test``, ``all``, ``7``, ``0-41`` or a list of these, sorted.

    Raises:
        ValueError: it's something else, or a number that KiTS19 doesn't have.
    """
    if isinstance(cases, list):
        if not cases:
            raise ValueError("cases: an empty list asks for nothing")
        return sorted({number for each in cases for number in parse_cases(each)})
    if isinstance(cases, str) and cases in NAMED:
        return list(NAMED[cases])
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", str(cases))
    if match is None:
        names = ", ".join(NAMED)
        raise ValueError(f"cases: {cases} must be {names}, a number, a range (0-41) or a list of these")
    first, last = int(match[1]), int(match[2] or match[1])
    if not first <= last <= 299:
        raise ValueError(f"cases: {cases} must lie in 0-299, the smaller number first")
    return list(range(first, last + 1))


class Kits19:
    """A folder in the layout of KiTS19's repository: ``data=kits19``, or of its successors.

    Args:
        label_name: the label file in a case's folder.
        classes: ``classes[stored]`` is the class id that a number in it means.
        test: the cases that have no labels, as `parse_cases` reads them; None if all have.

    Raises:
        ValueError: ``classes`` or ``test`` is out of its range.
    """

    def __init__(
        self,
        label_name: str = LABEL_NAME,
        classes: Sequence[int] = SAME_CLASSES,
        test: str | None = None,
    ) -> None:
        if not set(SAME_CLASSES) <= set(classes) <= set(range(len(CLASSES))):
            raise ValueError(f"classes={list(classes)} must give each of {list(SAME_CLASSES)}, no other")
        if classes[0] != BACKGROUND:
            raise ValueError(f"classes={list(classes)} must begin with {BACKGROUND}, the background")
        self.label_name, self.classes = label_name, tuple(classes)
        self.test = frozenset(parse_cases(test) if test is not None else [])

    def cases(self, root: Path) -> list[Case]:
        """All cases that have a folder, whether their files are there or not, sorted by id."""
        return [
            Case(f.name, f / IMAGE_NAME, f / self.label_name, self.classes) for f in case_folders(root)
        ]

    def is_test(self, case: Case) -> bool:
        """Whether nobody has the labels of a case."""
        return int(case.id.removeprefix("case_")) in self.test

    def find(self, root: str | Path) -> list[Case]:
        """The cases below ``root`` for training: all folders but those of test cases without a label.

        What others lack is for `kitsseg.data.prepare` to tell, as all else that is wrong with a case.

        Raises:
            ValueError: none has image and label; the message says how to get them.
        """
        root = Path(root).expanduser()
        cases = [c for c in self.cases(root) if not self.is_test(c) or c.label.is_file()]
        if any(c.image.is_file() and c.label.is_file() for c in cases):
            return cases
        lacks = "does not exist"
        if root.is_dir():
            lacks = f"holds no case_XXXXX folder with both {IMAGE_NAME} and {self.label_name}"
        raise ValueError(
            f"data.root={root} {lacks}. KiTS19 comes with `python -m kitsseg.download root={root}` "
            "(about 25 GB). To try kitsseg without: data=phantom"
        )
