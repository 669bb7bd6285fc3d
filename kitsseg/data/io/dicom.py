"""CT series of DICOM files: found anywhere below a folder, sorted by position, read slice by slice."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kitsseg.data.io.header import Layout, way_to_orientation
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
# Of what writers round; a missing slice doubles the distance.
SAME_DIRECTION, SAME_MM, SAME_DISTANCE = 1e-3, 1e-3, 0.1


def find_series(folder: Path) -> Found:
    """The CT series below ``folder``; localisers, other modalities and other files are left alone.

    A series is named by the folder of its first file, and by its number if there are several there.

    Raises:
        ValueError: there are none, or a package is missing.
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
            problems[str(path.relative_to(folder))] = f"{path}: can't be read ({error})"
            continue
        if header is None or not _is_slice(header):
            others += 1
        else:
            series.setdefault(str(header.SeriesInstanceUID), []).append((path, header))
    if not series and not problems:
        raise ValueError(
            f"{folder}: holds no .nii or .nii.gz files, no case_XXXXX folders and no DICOM files of CT"
        )
    scans = []
    names = _names(folder, {uid: each[0] for uid, each in series.items()})
    for uid, each in series.items():
        files = [path for path, _ in sorted(each, key=lambda one: _place(one[1]))]
        scans.append(Scan(names[uid], ".nii.gz", each[0][0].parent, tuple(files)))
    return Found(sorted(scans, key=lambda scan: scan.name), problems, others)


def read_series(scan: Scan) -> Image:
    """The volume of a series' files, in HU.

    Raises:
        ValueError: one line that names the series, what is wrong and what helps.
    """
    try:
        layout = series_layout([_header(path) for path in scan.files])
        hu: np.ndarray = np.empty(layout.turned_shape, np.int16)
        view = layout.in_file_axes(hu)
        for k, path in enumerate(scan.files):
            view[:, :, k] = _pixels(path, layout.shape[:2]).T
    except (ValueError, OSError) as error:
        raise ValueError(f"{scan.path} (series {scan.name}): {error}") from error
    low, high = int(hu.min()), int(hu.max())
    if low == high:
        raise ValueError(f"{scan.path} (series {scan.name}): every voxel has the same value")
    return Image(hu, (low, high), layout)


def series_layout(headers: Sequence[Any]) -> Layout:
    """How the slices of a series, in their order, lie: columns, rows, slices.

    Raises:
        ValueError: they are no volume: sizes or directions differ, slices are missing or doubled.
    """
    first = headers[0]
    if any(int(getattr(h, "NumberOfFrames", 1) or 1) > 1 for h in headers):
        raise ValueError("holds several frames in one file; convert it to NIfTI")
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"):
        if any(getattr(h, name, None) is None for h in headers):
            raise ValueError(f"lacks {name}; export it again")
    shapes = {(int(h.Columns), int(h.Rows)) for h in headers}
    if len(shapes) > 1:
        raise ValueError(f"has slices of several sizes, {sorted(shapes)}; export it again")
    directions = np.array([h.ImageOrientationPatient for h in headers], float)
    spacings = np.array([h.PixelSpacing for h in headers], float)
    if np.abs(directions - directions[0]).max() > SAME_DIRECTION:
        raise ValueError("has slices of several directions; export them as series of their own")
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
    return Layout(shape, np.dtype(np.int16), None, affine, 0, way_to_orientation(affine), True)


def _step(places: np.ndarray, direction: np.ndarray, thickness_mm: float) -> np.ndarray:
    """From one slice to the next, in mm; a tilted gantry's doesn't stand upright on them."""
    if len(places) == 1:
        return np.cross(direction[:3], direction[3:]) * thickness_mm
    steps = np.diff(places, axis=0)
    distances = np.linalg.norm(steps, axis=1)
    usual = float(np.median(distances))
    if distances.min() < SAME_MM:
        k = int(distances.argmin())
        raise ValueError(
            f"has two slices at one place, {places[k].tolist()}; export each acquisition by itself"
        )
    step = (places[-1] - places[0]) / (len(places) - 1)
    off = np.linalg.norm(steps - step, axis=1)
    if off.max() > SAME_DISTANCE * usual:
        k = int(np.abs(distances - usual).argmax())
        raise ValueError(
            f"has slices {usual:.3g} mm apart, but {distances[k]:.3g} mm after slice {k + 1}: some are "
            "missing; export it again"
        )
    return np.asarray(step)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _header(path: Path) -> Any:
    """Without pixels; None if it can't be parsed."""
    pydicom = require("pydicom", "dicom", USE)
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
    except OSError:
        raise
    except Exception:  # whatever pydicom trips over in a damaged file
        return None


def _is_slice(header: Any) -> bool:
    kinds = [str(kind).upper() for kind in getattr(header, "ImageType", None) or []]
    localiser = "LOCALIZER" in kinds
    has_image = getattr(header, "Rows", None) is not None
    is_ct = getattr(header, "Modality", None) == "CT"
    return is_ct and has_image and not localiser and hasattr(header, "SeriesInstanceUID")


def _place(header: Any) -> float:
    """Along the slices' normal; what lacks it stays where it is, and is found wanting when read."""
    place = getattr(header, "ImagePositionPatient", None)
    direction = getattr(header, "ImageOrientationPatient", None)
    if place is None or direction is None or len(place) != 3 or len(direction) != 6:
        return 0.0
    x, y = np.array(direction[:3], float), np.array(direction[3:], float)
    return float(np.cross(x, y) @ np.array(place, float))


def _names(folder: Path, firsts: dict[str, tuple[Path, Any]]) -> dict[str, str]:
    """A name for each series by its UID; letters, digits and a few signs only."""
    names: dict[str, str] = {}
    for uid, (path, _) in firsts.items():
        below = path.parent.relative_to(folder)
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", str(below) if below.parts else folder.resolve().name)
        names[uid] = plain.strip("-") or "series"
    for add in (lambda uid: getattr(firsts[uid][1], "SeriesNumber", None), lambda uid: uid[-8:]):
        shared = {name for name in names.values() if list(names.values()).count(name) > 1}
        for uid in [uid for uid, name in names.items() if name in shared]:
            names[uid] = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{names[uid]}_{add(uid)}")
    return names


def _pixels(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """``[rows, columns]`` int16 HU of one file, whatever its compression."""
    sitk = require("SimpleITK", "dicom", USE)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
        plane = sitk.GetArrayFromImage(image).reshape(shape[1], shape[0])
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path.name} can't be decoded; export it again") from error
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        raise ValueError(f"{path.name} holds NaN or infinite values; export it again")
    return np.rint(plane).clip(INT16.min, INT16.max).astype(np.int16)
