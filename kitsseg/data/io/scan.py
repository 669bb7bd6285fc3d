"""A scan on disk, and the result of a search for scans."""

from dataclasses import dataclass
from pathlib import Path

from kitsseg.data.case import CASE_FILE


@dataclass(frozen=True)
class Scan:
    """A CT volume on disk.

    Attributes:
        name: base name of the result files, such as ``case_00210``.
        ending: extension of the result files, ``.nii.gz`` or ``.nii``.
        path: the NIfTI file, or the folder of a DICOM series.
        files: the files of a DICOM series in slice order; empty for NIfTI.
    """

    name: str
    ending: str
    path: Path
    files: tuple[Path, ...] = ()

    @property
    def number(self) -> int | None:
        """The KiTS19 case number in the name; None if there is none."""
        match = CASE_FILE.fullmatch(f"{self.name}.nii")
        return None if match is None else int(match[1])


@dataclass(frozen=True)
class Found:
    """Result of a search for scans.

    Attributes:
        scans: the usable scans.
        problems: file name -> error message, for files that cannot be used.
        others: number of ignored files.
    """

    scans: list[Scan]
    problems: dict[str, str]
    others: int = 0
