"""Finding and reading of CT series in DICOM format."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.data.io.header import Layout, orientation_change
from kitsseg.data.io.nifti import Image
from kitsseg.data.io.scan import Found, Scan
from kitsseg.data.io.voxels import INT16
from kitsseg.system.optional_packages import require

USE = "reading DICOM"
TAGS = [
    "SeriesInstanceUID", "SeriesNumber", "Modality", "ImageType", "NumberOfFrames", "Rows", "Columns",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
]  # fmt: skip
LPS_TO_RAS = np.diag([-1.0, -1, 1, 1])
# Tolerances for rounded values. A missing slice doubles the distance.
SAME_DIRECTION, SAME_MM, SAME_DISTANCE = 1e-3, 1e-3, 0.1


def find_series(folder: Path) -> Found:
    """Return the CT series in ``folder`` and its subfolders.

    Localisers, other modalities and other files are ignored. A series is named after the folder of its
    first file, plus the series number if the folder contains several series.

    Raises:
        ValueError: there is no series, or a required package is missing.
    """
    series: dict[str, list[tuple[Path, Any]]] = {}
    problems: dict[str, str] = {}
    others = 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if not _is_dicom(path):
            others += 1
            continue
        try:
            header = _header(path)
        except OSError as error:
            problems[str(path.relative_to(folder))] = f"{path}: cannot be read ({error})"
            continue
        if header is None or not _is_slice(header):
            others += 1
        else:
            series.setdefault(str(header.SeriesInstanceUID), []).append((path, header))
    if not series and not problems:
        raise ValueError(
            f"{folder}: contains no .nii or .nii.gz files, case_XXXXX folders or DICOM files of CT"
        )
    scans = []
    names = _names(folder, {uid: slices[0] for uid, slices in series.items()})
    for uid, slices in series.items():
        files = [path for path, _ in sorted(slices, key=lambda item: _position(item[1]))]
        scans.append(Scan(names[uid], ".nii.gz", slices[0][0].parent, tuple(files)))
    return Found(sorted(scans, key=lambda scan: scan.name), problems, others)


def read_series(scan: Scan) -> Image:
    """Return the volume of a series, in HU.

    Raises:
        ValueError: the series cannot be used. The message names series, problem and remedy.
    """
    try:
        layout = series_layout([_header(path) for path in scan.files])
        hu: npt.NDArray[np.int16] = np.empty(layout.turned_shape, np.int16)
        view = layout.in_file_axes(hu)
        for k, path in enumerate(scan.files):
            view[:, :, k] = _pixels(path, layout.shape[:2]).T
    except (ValueError, OSError) as error:
        raise ValueError(f"{scan.path} (series {scan.name}): {error}") from error
    low, high = int(hu.min()), int(hu.max())
    if low == high:
        raise ValueError(
            f"{scan.path} (series {scan.name}): every voxel has the same value; export it again"
        )
    return Image(hu, (low, high), layout)


def series_layout(headers: Sequence[Any]) -> Layout:
    """Return the layout (columns, rows, slices) of a series from its sorted headers.

    Raises:
        ValueError: the slices do not form a volume: sizes, directions or spacings differ, or slices are
            missing or duplicated.
    """
    first = headers[0]
    if any(int(getattr(h, "NumberOfFrames", 1) or 1) > 1 for h in headers):
        raise ValueError("contains several frames in one file; convert it to NIfTI")
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"):
        if any(getattr(h, name, None) is None for h in headers):
            raise ValueError(f"lacks {name}; export it again")
    shapes = {(int(h.Columns), int(h.Rows)) for h in headers}
    if len(shapes) > 1:
        raise ValueError(f"has slices of several sizes, {sorted(shapes)}; export it again")
    directions = np.array([h.ImageOrientationPatient for h in headers], float)
    spacings = np.array([h.PixelSpacing for h in headers], float)
    if np.abs(directions - directions[0]).max() > SAME_DIRECTION:
        raise ValueError("has slices of several directions; export each as its own series")
    if np.abs(spacings - spacings[0]).max() > SAME_MM or not (spacings > 0).all():
        raise ValueError(f"has pixels of {np.unique(spacings).tolist()} mm; export it again")
    places = np.array([h.ImagePositionPatient for h in headers], float)
    affine = np.eye(4)
    affine[:3, 0] = directions[0, :3] * spacings[0, 1]
    affine[:3, 1] = directions[0, 3:] * spacings[0, 0]
    affine[:3, 2] = _step(places, directions[0], float(getattr(first, "SliceThickness", None) or 1))
    affine[:3, 3] = places[0]
    affine = LPS_TO_RAS @ affine
    ((columns, rows),) = shapes
    shape = (columns, rows, len(headers))
    return Layout(shape, np.dtype(np.int16), None, affine, 0, orientation_change(affine), True)


def _step(
    places: npt.NDArray[np.float64], direction: npt.NDArray[np.float64], thickness_mm: float
) -> npt.NDArray[np.float64]:
    """Return the vector from one slice to the next in mm; oblique to the slices for a tilted gantry.

    Args:
        places: ``[S, 3]``, positions of the slices in mm.
        direction: ``[6]``, direction of rows and columns.
        thickness_mm: used if there is one slice only.
    """
    if len(places) == 1:
        return np.asarray(np.cross(direction[:3], direction[3:]) * thickness_mm)
    steps = np.diff(places, axis=0)
    distances = np.linalg.norm(steps, axis=1)
    usual = float(np.median(distances))
    if distances.min() < SAME_MM:
        k = int(distances.argmin())
        raise ValueError(
            f"has two slices at one position, {places[k].tolist()}; remove copies, or export each "
            "acquisition separately"
        )
    step = (places[-1] - places[0]) / (len(places) - 1)
    off = np.linalg.norm(steps - step, axis=1)
    if off.max() > SAME_DISTANCE * usual:
        k = int(np.abs(distances - usual).argmax())
        raise ValueError(
            f"has slices {usual:.3g} mm apart, but {distances[k]:.3g} mm after slice {k + 1}: "
            "slices may be missing; export it again with equal distances"
        )
    return np.asarray(step)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _header(path: Path) -> Any:
    """Return the header without pixels; None if it cannot be parsed."""
    pydicom = require("pydicom", "dicom", USE)
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
    except OSError:
        raise
    except Exception:  # pydicom raises many types for damaged files
        return None


def _is_slice(header: Any) -> bool:
    kinds = [str(kind).upper() for kind in getattr(header, "ImageType", None) or []]
    localiser = "LOCALIZER" in kinds
    has_image = getattr(header, "Rows", None) is not None
    is_ct = getattr(header, "Modality", None) == "CT"
    return is_ct and has_image and not localiser and hasattr(header, "SeriesInstanceUID")


def _position(header: Any) -> float:
    """Return the position along the slice normal; 0 if unknown, which `series_layout` reports."""
    place = getattr(header, "ImagePositionPatient", None)
    direction = getattr(header, "ImageOrientationPatient", None)
    if place is None or direction is None or len(place) != 3 or len(direction) != 6:
        return 0.0
    x, y = np.array(direction[:3], float), np.array(direction[3:], float)
    return float(np.cross(x, y) @ np.array(place, float))


def _names(folder: Path, firsts: dict[str, tuple[Path, Any]]) -> dict[str, str]:
    """Return UID -> name, made of letters, digits, ``_`` and ``-``."""
    names: dict[str, str] = {}
    for uid, (path, _) in firsts.items():
        below = path.parent.relative_to(folder)
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", str(below) if below.parts else folder.resolve().name)
        names[uid] = plain.strip("-") or "series"
    numbers = {uid: getattr(header, "SeriesNumber", None) for uid, (_, header) in firsts.items()}
    for suffixes in (numbers, {uid: uid[-8:] for uid in firsts}):
        shared = {name for name in names.values() if list(names.values()).count(name) > 1}
        for uid in [uid for uid, name in names.items() if name in shared]:
            names[uid] = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{names[uid]}_{suffixes[uid]}")
    return names


def _pixels(path: Path, shape: tuple[int, int]) -> npt.NDArray[np.int16]:
    """Return ``[rows, columns]`` HU of one file; ``shape`` is (columns, rows)."""
    sitk: Any = require("SimpleITK", "dicom", USE)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
        plane = sitk.GetArrayFromImage(image).reshape(shape[1], shape[0])
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path.name} cannot be decoded; export it again") from error
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        raise ValueError(f"{path.name} contains NaN or infinite values; export it again")
    return np.asarray(np.rint(plane).clip(INT16.min, INT16.max), np.int16)
