"""A scan on disk, and the result of a search for scans."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from kitsseg.data.case import case_number


@dataclass(frozen=True)
class Scan:
    """A CT volume on disk.

    Attributes:
        name: base name of the result files, such as ``case_00210``.
        ending: extension of the result files, ``.nii.gz`` or ``.nii``.
        path: the NIfTI file, or the folder of a DICOM series.
        files: the files of a DICOM series in slice order; empty for NIfTI.
        warnings: what the search found doubtful about the series.
    """

    name: str
    ending: str
    path: Path
    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def number(self) -> int | None:
        """The KiTS19 case number in the name; None if there is none."""
        return case_number(self.name)

    @property
    def label(self) -> str:
        """How messages call the scan."""
        return f"{self.path} (series {self.name})" if self.files else str(self.path)


@dataclass(frozen=True)
class Found:
    """Usable scans, problems (name or path -> message), and the names of what was ignored."""

    scans: list[Scan]
    problems: dict[str, str]
    others: tuple[str, ...] = ()


def with_unique_names(scans: list[Scan], problems: dict[str, str], others: tuple[str, ...]) -> Found:
    """Return the scans whose results have a name of their own; all scans that share one are problems."""
    count = Counter(scan.name for scan in scans)
    shared = {}
    for scan in [scan for scan in scans if count[scan.name] > 1]:
        other = next(s for s in scans if s.name == scan.name and s is not scan)
        shared[str(scan.path)] = (
            f"{scan.path}: its results would be named {scan.name}, as those of {other.path}; rename one"
        )
    unique = [scan for scan in scans if count[scan.name] == 1]
    return Found(sorted(unique, key=lambda scan: scan.name), problems | shared, others)
