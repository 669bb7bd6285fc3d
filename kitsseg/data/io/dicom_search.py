"""Search for CT series in DICOM format. A file that may be a slice but cannot be used is reported."""

import filecmp
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.data.case import name_key, nifti_ending
from kitsseg.data.io.scan import Found, Scan, with_unique_names
from kitsseg.system.files import files_below
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
    "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "RescaleType", "BitsAllocated",
    "SamplesPerPixel", "PhotometricInterpretation", "PixelData",
]  # fmt: skip
PREAMBLE = 128
FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")  # start of a file without preamble
ENDINGS = ("", ".dcm", ".dicom", ".ima")  # endings of slices, in lower case
NOT_IN_NAMES = re.compile(r"[^\w-]+", re.ASCII)
EMPTY, CUT = "is empty", "is cut off or overwritten"
Slices = list[tuple[Path, Any]]  # files and their headers


class UnusableError(ValueError):
    """A file that may be a slice cannot be used. The message is the reason, without file and remedy."""


class UnknownError(UnusableError):
    """`UnusableError` for unknown content: only the name of the file suggests whether it is a slice."""


def find_series(root: Path) -> Found:
    """Return the CT series in ``root`` and its subfolders. Links to folders are followed.

    Localisers, other modalities and files of other formats are ignored. A series is named after the
    folder of its first file, plus the series number if the folder contains several series. A series is a
    problem if a file in one of its folders may be a slice, but cannot be used. Raises `ValueError` if
    there is no series, or a required package is missing.
    """
    series: dict[str, Slices] = {}
    unusable: dict[Path, UnusableError] = {}
    others: list[Path] = []
    errors: list[OSError] = []
    for path in files_below(root, errors.append):
        try:
            header = _read_slice(path)
        except UnusableError as error:
            unusable[path] = error
            continue
        if header is None:
            others.append(path)
        else:
            uid = str(value(header, "SeriesInstanceUID") or path.parent)
            series.setdefault(uid, []).append((path, header))
    known = {(path.parent, _ending(path)) for slices in series.values() for path, _ in slices}
    lost = {path: str(why) for path, why in unusable.items() if _may_be_slice(path, why, known)}
    others += [path for path in unusable if path not in lost]
    scans, names, refused = [], _names(root, series), []
    for failure in errors:
        folder = Path(failure.filename)
        problem = f"{folder}: cannot be read ({failure.strerror}); allow it"
        refused.append((_name(root, folder), folder, problem))
    for uid, slices in series.items():
        name, folder = names[uid], slices[0][0].parent
        try:
            if first := _describe(lost, {path.parent for path, _ in slices}):
                raise ValueError(f"{first}: slices are lost; copy or export the series again")
            scans.append(Scan(name, ".nii.gz", folder, *_in_order(slices)))
        except ValueError as problem_of_series:
            refused.append((name, folder, f"{folder} (series {name}): {problem_of_series}"))
    for folder in sorted({path.parent for path in lost} - {folder for folder, _ in known}):
        problem = f"{folder}: {_describe(lost, {folder})}; copy or export the files again"
        refused.append((_name(root, folder), folder, problem))
    if not series and not refused:
        if nifti := next((path.parent for path in others if nifti_ending(path.name)), None):
            raise ValueError(
                f"{root}: its NIfTI files are in subfolders, such as {nifti}; pass one of them"
            )
        raise ValueError(
            f"{root}: contains no .nii or .nii.gz files, case_XXXXX folders or DICOM files of CT"
        )
    return with_unique_names(scans, refused, tuple(str(path.relative_to(root)) for path in others))


def read_header(path: Path) -> Any:
    """Return the attributes `TAGS` of a DICOM file; raise `UnusableError` if it cannot be read."""
    pydicom = require("pydicom", "dicom", USE)
    try:
        return pydicom.dcmread(path, specific_tags=TAGS, force=True, defer_size=1024)
    except Exception as error:  # pydicom raises many types for damaged files
        why = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else ""
        raise UnusableError(why or "is a damaged DICOM file") from error


def value(header: Any, name: str) -> Any:
    """Return an attribute; None if it is missing, empty or damaged."""
    try:
        return getattr(header, name, None)
    except Exception:  # pydicom raises many types for damaged values
        return None


def numbers(header: Any, name: str, count: int) -> npt.NDArray[np.float64] | None:
    """Return an attribute ``[count]``; None unless it consists of that many finite numbers."""
    try:
        found = np.atleast_1d(np.array(value(header, name), float))
    except (TypeError, ValueError):
        return None
    return found if found.shape == (count,) and np.isfinite(found).all() else None


def _read_slice(path: Path) -> Any:
    """Return the header of a CT slice; None for another kind of file; may raise `UnusableError`."""
    if (problem := obstacle(path)) is not None:
        raise UnknownError(problem.partition(";")[0])
    try:
        with path.open("rb") as file:
            start = file.read(PREAMBLE + 4)
    except OSError as error:
        raise UnknownError(f"cannot be read ({error.strerror})") from error
    if not start.strip(b"\0"):
        raise UnknownError(CUT if start else EMPTY)
    has_preamble = start[PREAMBLE:] == b"DICM"
    if not has_preamble and start[:2] not in FIRST_GROUPS:
        return None
    header = read_header(path)
    sop_class, modality = value(header, "SOPClassUID"), value(header, "Modality")
    if sop_class is None:
        sop_class = value(header.file_meta, "MediaStorageSOPClassUID")
    if has_preamble and sop_class is None and modality is None:
        raise UnusableError("is a DICOM file without SOP class and modality")
    if not (modality == "CT" if sop_class is None else str(sop_class) in CT_IMAGES):
        return None
    if value(header, "Rows") is None:
        raise UnusableError("lacks Rows; it may be cut off")
    return None if "LOCALIZER" in str(value(header, "ImageType")).upper() else header


def _ending(path: Path) -> str:
    """Return the ending of a name in lower case; none for a number, as in UIDs."""
    ending = path.suffix.lower()
    return "" if ending[1:].isdigit() else ending


def _may_be_slice(path: Path, why: UnusableError, known: set[tuple[Path, str]]) -> bool:
    """Return whether an unusable file may be a slice; ``known`` holds folders and endings of slices."""
    ending = _ending(path)
    is_mark = not ending and str(why) in (EMPTY, CUT)  # such as an empty file DONE
    is_usual = ending in ENDINGS and not is_mark
    return is_usual or (path.parent, ending) in known or not isinstance(why, UnknownError)


def _describe(lost: Mapping[Path, str], folders: set[Path]) -> str:
    """Return the first lost slice in these folders with the reason; empty if there is none."""
    first, *more = [f"{path.name} {why}" for path, why in lost.items() if path.parent in folders] or [""]
    return first + (f", and {len(more)} more files cannot be used" if more else "")


def _in_order(slices: Slices) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return the files of a series in slice order without exact copies, and warnings."""
    kept: dict[str, tuple[Path, Any]] = {}
    for path, header in sorted(slices, key=lambda item: _position(item[1])):
        same, _ = kept.setdefault(str(value(header, "SOPInstanceUID") or path), (path, header))
        if same != path and not filecmp.cmp(same, path, shallow=False):
            raise ValueError(
                f"{path.name} and {same.name} have one SOP instance UID, but differ; remove one"
            )
    warnings = []
    if copies := len(slices) - len(kept):
        warnings.append(f"{copies} files are copies of others and ignored")
    found = [numbers(header, "InstanceNumber", 1) for _, header in kept.values()]
    distinct = {int(number[0]) for number in found if number is not None}
    if 1 < len(distinct) == len(kept) and (first := min(distinct)) > 1:
        warnings.append(f"its instance numbers begin at {first}: slices may be missing at one end")
    return tuple(path for path, _ in kept.values()), tuple(warnings)


def _position(header: Any) -> float:
    """Return the position along the slice normal; 0 if unknown, which reading reports."""
    place = numbers(header, "ImagePositionPatient", 3)
    directions = numbers(header, "ImageOrientationPatient", 6)
    if place is None or directions is None:
        return 0.0
    return float(np.cross(directions[:3], directions[3:]) @ place)


def _names(root: Path, series: Mapping[str, Slices]) -> dict[str, str]:
    """Return UID -> name; folders with several series, or of one name, get suffixes."""
    names = {uid: _name(root, slices[0][0].parent) for uid, slices in series.items()}
    by_number = {uid: value(slices[0][1], "SeriesNumber") for uid, slices in series.items()}
    for suffixes in (by_number, {uid: uid[-8:] for uid in series}):
        count = Counter(map(name_key, names.values()))
        for uid, name in names.items():
            if count[name_key(name)] > 1:
                names[uid] = NOT_IN_NAMES.sub("-", f"{name}_{suffixes[uid]}")
    return names


def _name(root: Path, folder: Path) -> str:
    """Return the name of a folder below ``root``, made of letters, digits, ``_`` and ``-``."""
    place = Path(os.path.abspath(root)).name if folder == root else str(folder.relative_to(root))
    return NOT_IN_NAMES.sub("-", place).strip("-") or "series"
