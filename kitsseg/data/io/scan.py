"""An image to segment and the name of its result."""

from dataclasses import dataclass
from pathlib import Path

from kitsseg.data.case import CASE_FILE


@dataclass(frozen=True)
class Scan:
    """A CT volume that lies somewhere.

    Attributes:
        name: of its results, such as ``case_00210``.
        ending: of its results' files, ``.nii.gz`` or ``.nii``.
        path: the file; of a DICOM series its folder.
        files: of a DICOM series, in the order of its slices; else none.
    """

    name: str
    ending: str
    path: Path
    files: tuple[Path, ...] = ()

    @property
    def number(self) -> int | None:
        """KiTS19's number of the case, by its name."""
        match = CASE_FILE.fullmatch(f"{self.name}.nii")
        return None if match is None else int(match[1])


@dataclass(frozen=True)
class Found:
    """The volumes, a problem for each file that can't be one, and how many others there are."""

    scans: list[Scan]
    problems: dict[str, str]
    others: int = 0
