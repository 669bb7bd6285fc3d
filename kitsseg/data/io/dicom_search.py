"""Search for CT series in DICOM format. Whatever could be a slice and cannot be used is reported."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from kitsseg.data.io.scan import Found, Scan, with_unique_names
from kitsseg.system.obstacles import obstacle
from kitsseg.system.optional_packages import require

USE = "reading DICOM"
CT_IMAGES = {  # SOP classes: CT, Enhanced CT, Legacy Converted Enhanced CT
    "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2",
}  # fmt: skip
TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "Modality",
    "ImageType", "NumberOfFrames", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "SliceThickness", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept",
]  # fmt: skip
PREAMBLE = 128
FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")  # of a file without preamble


class UnusableError(ValueError):
    """A file that may be a slice cannot be used. The message is the reason, without file and remedy."""


@dataclass
class Folder:
    """The files of a folder: slices with their headers, unusable files with the reason, and others."""

    slices: list[tuple[Path, Any]] = field(default_factory=list)
    unusable: dict[Path, str] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)


def find_series(root: Path) -> Found:
    """Return the CT series in ``root`` and its subfolders. Links to folders are followed.

    Localisers, other modalities and files of other formats are ignored. A series is named after the
    folder of its first file, plus the series number if the folder contains several series. A series is a
    problem if a file in one of its folders may be a slice, but cannot be used.

    Raises:
        ValueError: there is no series, or a required package is missing.
    """
    folders: dict[Path, Folder] = {}
    problems: dict[str, str] = {}
    for path in _walk(root, problems):
        folder = folders.setdefault(path.parent, Folder())
        try:
            header = _read_slice(path)
        except UnusableError as error:
            folder.unusable[path] = str(error)
        else:
            if header is None:
                folder.others.append(path)
            else:
                folder.slices.append((path, header))
    for folder in folders.values():
        _keep_likely_slices(folder)
    series: dict[str, list[tuple[Path, Any]]] = {}
    for path, folder in folders.items():
        for file, header in folder.slices:
            uid = getattr(header, "SeriesInstanceUID", None) or path
            series.setdefault(str(uid), []).append((file, header))
        if folder.unusable and not folder.slices:
            problems[str(path)] = f"{path}: {_describe(folder.unusable)}; copy or export the files again"
    others = tuple(str(p.relative_to(root)) for f in folders.values() for p in f.others)
    if not series and not problems:
        raise ValueError(
            f"{root}: contains no .nii or .nii.gz files, case_XXXXX folders or DICOM files of CT"
        )
    scans = []
    names = _names(root, {uid: slices[0] for uid, slices in series.items()})
    for uid, slices in series.items():
        name, place = names[uid], slices[0][0].parent
        places = {file.parent for file, _ in slices}
        unusable = {file: why for p in places for file, why in folders[p].unusable.items()}
        try:
            if unusable:
                raise ValueError(
                    f"{_describe(unusable)}: slices are lost; copy or export the series again"
                )
            files, warnings = _without_copies(slices)
        except ValueError as error:
            problems[name if name not in problems else str(place)] = f"{place} (series {name}): {error}"
        else:
            warnings += _check_numbers([header for _, header in slices])
            scans.append(Scan(name, ".nii.gz", place, tuple(files), tuple(warnings)))
    return with_unique_names(scans, problems, others)


def _walk(root: Path, problems: dict[str, str]) -> Iterator[Path]:
    """Yield all files except hidden ones; add folders that cannot be read to ``problems``."""

    def unreadable(error: OSError) -> None:
        problems[str(error.filename)] = f"{error.filename}: cannot be read ({error.strerror}); allow it"

    visited = set()
    for place, folders, files in os.walk(root, onerror=unreadable, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:  # a link to a folder above or beside
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))


def _read_slice(path: Path) -> Any:
    """Return the header of a CT slice; None for a file of another kind.

    Raises:
        UnusableError: the file may be a slice, but cannot be read.
    """
    if (problem := obstacle(path)) is not None:
        raise UnusableError(problem.partition(";")[0])
    try:
        with path.open("rb") as file:
            start = file.read(PREAMBLE + 4)
    except OSError as error:
        raise UnusableError(f"cannot be read ({error.strerror})") from error
    if not start:
        raise UnusableError("is empty")
    has_preamble = start[PREAMBLE:] == b"DICM"
    if not has_preamble and start[:2] not in FIRST_GROUPS:
        if len(start) <= PREAMBLE + 3 and not start.strip(b"\0"):
            raise UnusableError("is cut off")
        return None
    pydicom = require("pydicom", "dicom", USE)
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS, force=True)
        sop_class = getattr(header, "SOPClassUID", None)
        if sop_class is None:
            sop_class = getattr(header.file_meta, "MediaStorageSOPClassUID", None)
    except Exception as error:  # pydicom raises many types for damaged files
        raise UnusableError("is a damaged DICOM file") from error
    modality = getattr(header, "Modality", None)
    if sop_class is None and modality is None:
        if has_preamble:
            raise UnusableError("is a DICOM file without SOP class and modality")
        return None
    if (str(sop_class) not in CT_IMAGES) if sop_class is not None else (modality != "CT"):
        return None
    if getattr(header, "Rows", None) is None:
        raise UnusableError("lacks Rows; it may be cut off")
    kinds = [str(kind).upper() for kind in getattr(header, "ImageType", None) or []]
    return None if "LOCALIZER" in kinds else header


def _keep_likely_slices(folder: Folder) -> None:
    """Move empty and cut files that are named unlike the slices from ``unusable`` to ``others``."""
    endings = {path.suffix.lower() for path, _ in folder.slices} | {".dcm", ".ima"}
    for path in [p for p in folder.unusable if p.suffix.lower() not in endings]:
        if folder.unusable[path] in ("is empty", "is cut off"):
            del folder.unusable[path]
            folder.others.append(path)


def _describe(unusable: dict[Path, str]) -> str:
    (path, reason), *more = unusable.items()
    return f"{path.name} {reason}" + (f", and {len(more)} more files cannot be used" if more else "")


def _without_copies(slices: list[tuple[Path, Any]]) -> tuple[list[Path], list[str]]:
    """Return the files of a series in slice order without exact copies, and a warning about those.

    Raises:
        ValueError: two different files have the same SOP instance UID.
    """
    kept: list[Path] = []
    copies = 0
    seen: dict[str, Path] = {}
    for path, header in sorted(slices, key=lambda item: _position(item[1])):
        uid = str(getattr(header, "SOPInstanceUID", None) or path)
        if uid not in seen:
            seen[uid] = path
            kept.append(path)
        elif _digest(path) == _digest(seen[uid]):
            copies += 1
        else:
            raise ValueError(
                f"{path.name} and {seen[uid].name} have one SOP instance UID, but differ; remove one"
            )
    return kept, [f"{copies} files are copies of others and ignored"] if copies else []


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return sha256(file.read()).hexdigest()


def _check_numbers(headers: list[Any]) -> list[str]:
    """Return a warning if the instance numbers show that slices may be missing at the ends."""
    try:
        numbers = sorted({int(header.InstanceNumber) for header in headers})
    except (AttributeError, TypeError, ValueError):
        return []
    if len(numbers) == len(headers) and len(headers) > 1 and numbers[0] > 1:
        return [f"its instance numbers begin at {numbers[0]}: slices may be missing at one end"]
    return []


def _position(header: Any) -> float:
    """Return the position along the slice normal; 0 if unknown, which reading reports."""
    try:
        place = np.array(header.ImagePositionPatient, float)
        x, y = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        return float(np.cross(x, y) @ place)
    except (AttributeError, TypeError, ValueError):
        return 0.0


def _names(root: Path, firsts: dict[str, tuple[Path, Any]]) -> dict[str, str]:
    """Return UID -> name, made of letters, digits, ``_`` and ``-``."""
    names: dict[str, str] = {}
    for uid, (path, _) in firsts.items():
        below = path.parent.relative_to(root)
        place = str(below) if below.parts else Path(os.path.abspath(root)).name
        names[uid] = re.sub(r"[^\w-]+", "-", place, flags=re.ASCII).strip("-") or "series"
    numbers = {uid: getattr(header, "SeriesNumber", None) for uid, (_, header) in firsts.items()}
    for suffixes in (numbers, {uid: uid[-8:] for uid in firsts}):
        shared = {name for name in names.values() if list(names.values()).count(name) > 1}
        for uid in [uid for uid, name in names.items() if name in shared]:
            names[uid] = re.sub(r"[^\w-]+", "-", f"{names[uid]}_{suffixes[uid]}", flags=re.ASCII)
    return names
