"""A scan on disk, and the result of a search for scans."""

from dataclasses import dataclass
from itertools import groupby, permutations
from pathlib import Path

from kitsseg.data.case import case_number, name_key


@dataclass(frozen=True)
class Scan:
    """A CT volume on disk.

    Attributes:
        name, ending: name and ending of the result files, such as ``case_00210`` and ``.nii.gz``.
        path, files: path of a NIfTI file; or folder of a DICOM series and its files in slice order.
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
        """The name of the scan in messages."""
        return f"{self.path} (series {self.name})" if self.files else str(self.path)


@dataclass(frozen=True)
class Found:
    """Usable scans, problems (name or path -> message), and the names of what was ignored."""

    scans: list[Scan]
    problems: dict[str, str]
    others: tuple[str, ...] = ()


def with_unique_names(
    scans: list[Scan], refused: list[tuple[str, Path, str]], others: tuple[str, ...]
) -> Found:
    """Return the scans with unique result names; a scan whose name is not unique becomes a problem.

    ``refused`` holds name, path and problem of what cannot be used. The key of a problem is the name, or
    the path if a scan or another problem has the name.
    """
    unique, shared, problems = [], {}, {}
    ordered = sorted(scans, key=lambda scan: name_key(scan.name))
    for same in (list(group) for _, group in groupby(ordered, lambda scan: name_key(scan.name))):
        unique += same if len(same) == 1 else []
        for scan, other in permutations(same, 2):
            whose = f"as those of {other.path}"
            if other.name != scan.name:
                whose = f"those of {other.path} {other.name}, which some file systems do not distinguish"
            named = f"{scan.path}: its results would be named {scan.name}"
            shared[str(scan.path)] = f"{named}, {whose}; rename one"
    names = {scan.name for scan in scans}
    for name, path, problem in refused:
        problems[str(path) if name in names else name] = problem
        names.add(name)
    return Found(sorted(unique, key=lambda scan: scan.name), problems | shared, others)
