"""KiTS19's folder layout: which cases a folder holds."""

import re
from dataclasses import dataclass
from pathlib import Path

CASE_FOLDER = re.compile(r"case_\d{5}")
IMAGE_NAME, LABEL_NAME = "imaging.nii.gz", "segmentation.nii.gz"
CLINICAL_NAME = "kits.json"
LABELLED, TEST = range(210), range(210, 300)  # the labels of the challenge's test cases aren't public
NAMED = {"labelled": LABELLED, "test": TEST, "all": range(300)}


@dataclass(frozen=True)
class Case:
    """One patient: an id such as ``case_00042`` and the two files that belong to it."""

    id: str
    image: Path
    label: Path


def list_cases(root: Path) -> list[Case]:
    """The cases below ``root`` that have both an image and a label, sorted by id."""
    if not root.is_dir():
        return []
    folders = sorted(f for f in root.iterdir() if CASE_FOLDER.fullmatch(f.name) and f.is_dir())
    cases = [Case(f.name, f / IMAGE_NAME, f / LABEL_NAME) for f in folders]
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


def cases_folder(root: Path) -> Path:
    """``root``, or its ``data/`` as in a checkout: whichever holds case folders.

    Raises:
        ValueError: neither does.
    """
    for folder in (root, root / "data"):
        if folder.is_dir() and any(CASE_FOLDER.fullmatch(each.name) for each in folder.iterdir()):
            return folder
    raise ValueError(f"labels_from={root} holds no case_XXXXX folders, nor does its data/")


class Kits19:
    """The data source ``data=kits19``: a folder in the layout of the official repository."""

    def find(self, root: str | Path) -> list[Case]:
        """The labelled cases below ``root`` (or its ``data/``, as in a checkout of the repository).

        Raises:
            ValueError: there are none; the message says how to get them.
        """
        root = Path(root).expanduser()
        for folder in (root, root / "data"):
            if cases := list_cases(folder):
                return cases
        lacks = "does not exist"
        if root.is_dir():
            lacks = f"holds no case_XXXXX folder with both {IMAGE_NAME} and {LABEL_NAME}"
        raise ValueError(
            f"data.root={root} {lacks}. KiTS19 comes with `python -m kitsseg.download root={root}` "
            "(about 25 GB). To try kitsseg without: data=phantom"
        )
