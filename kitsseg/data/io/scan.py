"""A scan on disk, and the result of a search for scans."""

import unicodedata
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


Refused = tuple[str, Path, str]  # name of the results, path, and problem of what cannot be used


def name_key(name: str) -> str:
    """Return what a name has in common with those that a file system may not distinguish from it."""
    return unicodedata.normalize("NFC", name.casefold())


def with_unique_names(scans: list[Scan], refused: list[Refused], others: tuple[str, ...]) -> Found:
    """Return the scans whose results have a name of their own; all scans that share one are problems.

    A problem is named as the results would be; or after its path, if a scan or problem has that name.
    """
    unique, shared, problems = [], {}, {}
    for scan in sorted(scans, key=lambda scan: scan.name):
        same = [s for s in scans if name_key(s.name) == name_key(scan.name) and s is not scan]
        if not same:
            unique.append(scan)
            continue
        whose = f"as those of {same[0].path}"
        if same[0].name != scan.name:
            whose = f"those of {same[0].path} {same[0].name}, which some file systems do not distinguish"
        shared[str(scan.path)] = (
            f"{scan.path}: its results would be named {scan.name}, {whose}; rename one"
        )
    names = {scan.name for scan in scans}
    for name, path, problem in refused:
        problems[str(path) if name in names else name] = problem
        names.add(name)
    return Found(unique, problems | shared, others)
