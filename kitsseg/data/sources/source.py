"""What the sources of cases have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kitsseg.data.case import Case, shown
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.suggestions import suggestion
from kitsseg.system.obstacles import is_file


class Source(ABC):
    """A data set. Case ids are any text that is safe as a file name.

    Args:
        offset_hu: added to every voxel of the images; -1024 for CT stored as unsigned numbers.
    """

    def __init__(self, offset_hu: int = 0) -> None:
        self.offset_hu = offset_hu

    @abstractmethod
    def cases(self, root: str | Path, labels: Labels = KITS19) -> list[Case]:
        """Return all cases of a data set, with and without labels, sorted by id."""

    @property
    def options(self) -> list[Any]:
        """What changes how files are read, apart from the labels: part of the key of a store."""
        return [self.offset_hu] if self.offset_hu else []

    def stored(self, labels: Labels) -> Mapping[int, int]:
        """Return the class id of each value in the label files."""
        return labels.stored

    def find(self, root: str | Path, labels: Labels = KITS19) -> list[Case]:
        """Return the cases for training and validation; raise `ValueError` if there are none."""
        cases = [case for case in self.cases(root, labels) if not case.is_test]
        if not cases:
            raise ValueError(f"data.root={root}: contains no training cases; add cases with labels")
        return cases

    def test_cases(self, root: str | Path, labels: Labels = KITS19) -> list[Case]:
        """Return the labelled cases that the data set itself sets aside as test cases."""
        return [case for case in self.cases(root, labels) if case.is_test and case.label is not None]

    def choose(self, cases: object) -> list[str]:
        """Return the case ids that a setting selects: one id or a list of ids."""
        ids = cases if isinstance(cases, list) else [cases]
        if not ids or not all(isinstance(name, str | int) for name in ids):
            raise ValueError(f"cases={cases}: must be a case id or a list of case ids")
        return sorted({str(name) for name in ids})

    def select(self, found: Sequence[Case], ids: Sequence[str], labels: Labels = KITS19) -> list[Case]:
        """Return the found cases with these ids."""
        by_id = {case.id: case for case in found}
        if unknown := [name for name in ids if name not in by_id]:
            remedy = suggestion(unknown[0], by_id)
            raise ValueError(f"cases: the data set has no case {shown(unknown)}{remedy}")
        return [by_id[name] for name in ids]


def check_files(files: Sequence[Path], where: Path) -> None:
    """Raise `ValueError` if a file that ``where`` lists is missing."""
    if missing := [path for path in files if not is_file(path)]:
        raise ValueError(
            f"{where}: {len(missing)} of {len(files)} files are missing: {shown(missing)}; "
            "add them, or remove their cases from the list"
        )
