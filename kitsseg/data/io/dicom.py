"""Reading of CT series in DICOM format."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.data.io.dicom_search import TAGS, USE
from kitsseg.data.io.nifti.header import LPS_TO_RAS, Layout, orientation_change
from kitsseg.data.io.nifti.read import Image
from kitsseg.data.io.nifti.voxels import INT16
from kitsseg.data.io.scan import Scan
from kitsseg.data.labels import AIR_HU
from kitsseg.system.optional_packages import require

# Tolerances for rounded values. A missing slice shifts others by a quarter of the distance at least.
SAME_DIRECTION, SAME_MM, OFF_GRID = 1e-3, 1e-3, 0.2
NUMBERS = {  # attributes of which every slice needs so many numbers
    "ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2, "Rows": 1, "Columns": 1,
}  # fmt: skip
Padding = tuple[float, float]  # lowest and highest HU that mean "outside the scanner's field"


def read_series(scan: Scan) -> Image:
    """Return the volume of a series, unchecked; see `kitsseg.data.io.scans.read_scan`.

    Raises:
        ValueError: the series cannot be read. The message names series, problem and remedy.
    """
    low, high, padded = math.inf, -math.inf, 0
    try:
        headers = [_header(path) for path in scan.files]
        layout = series_layout(headers, [path.name for path in scan.files])
        hu: npt.NDArray[np.int16] = np.empty(layout.turned_shape, np.int16)
        view = layout.in_file_axes(hu)
        for k, (path, header) in enumerate(zip(scan.files, headers, strict=True)):
            plane = _pixels(path, layout.shape[:2])
            if (padding := _padding(header)) is not None:
                outside = (plane >= padding[0]) & (plane <= padding[1])
                padded += int(outside.sum()) if padding[1] > AIR_HU else 0
                plane = np.where(outside, AIR_HU, plane)
            low, high = min(low, float(plane.min())), max(high, float(plane.max()))
            view[:, :, k] = np.rint(plane).clip(INT16.min, INT16.max).T
    except (ValueError, OSError) as error:
        raise ValueError(f"{scan.label}: {error}") from error
    warnings = scan.warnings
    if padded:
        warnings += (f"{padded} voxels have the PixelPaddingValue and are read as air",)
    return Image(hu, (low, high), layout, warnings)


def series_layout(headers: Sequence[Any], names: Sequence[str]) -> Layout:
    """Return the layout (columns, rows, slices) of a series from its sorted headers.

    Raises:
        ValueError: the slices do not form a volume: sizes, directions or spacings differ, or slices are
            missing or duplicated.
    """
    if any(int(getattr(h, "NumberOfFrames", 1) or 1) > 1 for h in headers):
        raise ValueError("contains several frames in one file; convert it to NIfTI")
    values = {name: _numbers(headers, names, name) for name in NUMBERS}
    shapes = sorted(
        {(int(c), int(r)) for (c,), (r,) in zip(values["Columns"], values["Rows"], strict=True)}
    )
    if len(shapes) > 1:
        raise ValueError(f"has slices of several sizes, {shapes}; export it again")
    directions, spacings = values["ImageOrientationPatient"], values["PixelSpacing"]
    if np.abs(directions - directions[0]).max() > SAME_DIRECTION:
        raise ValueError("has slices of several directions; export each as its own series")
    if np.abs(spacings - spacings[0]).max() > SAME_MM or not (spacings > 0).all():
        raise ValueError(f"has pixels of {np.unique(spacings).tolist()} mm; export it again")
    places = values["ImagePositionPatient"]
    affine = np.eye(4)
    affine[:3, 0] = directions[0, :3] * spacings[0, 1]
    affine[:3, 1] = directions[0, 3:] * spacings[0, 0]
    thickness_mm = float(getattr(headers[0], "SliceThickness", None) or 1)
    affine[:3, 2] = _step(places, directions[0], thickness_mm)
    affine[:3, 3] = places[0]
    affine = LPS_TO_RAS @ affine
    shape = (*shapes[0], len(headers))
    return Layout(shape, np.dtype(np.int16), None, affine, 0, orientation_change(affine))


def _numbers(headers: Sequence[Any], names: Sequence[str], attribute: str) -> npt.NDArray[np.float64]:
    """Return an attribute of all slices, ``[S, N]``.

    Raises:
        ValueError: a slice lacks it, or it has another number of values.
    """
    count, rows = NUMBERS[attribute], []
    for header, name in zip(headers, names, strict=True):
        value = getattr(header, attribute, None)
        if value is None:
            raise ValueError(f"{name} lacks {attribute}; export it again")
        row = np.atleast_1d(np.array(value, float))
        if row.shape != (count,) or not np.isfinite(row).all():
            raise ValueError(f"{name} has {attribute} {value}, not {count} numbers; export it again")
        rows.append(row)
    return np.array(rows)


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
    distances = np.linalg.norm(np.diff(places, axis=0), axis=1)
    usual = float(np.median(distances))
    if distances.min() < SAME_MM:
        place = places[int(distances.argmin())].tolist()
        raise ValueError(
            f"has two different slices at one position, {place}; move each acquisition to its own folder"
        )
    step = (places[-1] - places[0]) / (len(places) - 1)
    expected = places[0] + np.arange(len(places))[:, None] * step
    if np.linalg.norm(places - expected, axis=1).max() > OFF_GRID * usual:
        raise ValueError(_why_uneven(distances, usual))
    return np.asarray(step)


def _why_uneven(distances: npt.NDArray[np.float64], usual: float) -> str:
    """Return whether slices are missing, or the series has slices at unequal distances."""
    gaps = np.abs(distances / usual - 1) > OFF_GRID
    multiples = np.abs(distances / usual - np.rint(distances / usual)) <= OFF_GRID
    if gaps.sum() <= len(distances) // 4 and (multiples & (distances > usual / 2)).all():
        k = int(distances.argmax())
        return (
            f"has slices {usual:.3g} mm apart, but {distances[k]:.3g} mm after slice {k + 1}: slices "
            "are missing; copy or export the series again"
        )
    return (
        f"has slices {distances.min():.3g} to {distances.max():.3g} mm apart; a volume needs equal "
        "distances; reconstruct or resample it to one distance, and pass it as NIfTI"
    )


def _header(path: Path) -> Any:
    pydicom = require("pydicom", "dicom", USE)
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS, force=True)
    except OSError:
        raise
    except Exception as error:  # pydicom raises many types for damaged files
        raise ValueError(f"{path.name} is damaged; copy or export it again") from error


def _padding(header: Any) -> Padding | None:
    """Return the range of HU that marks pixels outside the scanner's field; None if there is none.

    Source: DICOM PS3.3, C.7.5.1.1.2 (Pixel Padding Value and Pixel Padding Range Limit).
    """
    value = getattr(header, "PixelPaddingValue", None)
    if value is None:
        return None
    limit = getattr(header, "PixelPaddingRangeLimit", None)
    slope = float(getattr(header, "RescaleSlope", None) or 1)
    intercept = float(getattr(header, "RescaleIntercept", None) or 0)
    first, second = (float(v) * slope + intercept for v in (value, value if limit is None else limit))
    return min(first, second), max(first, second)


def _pixels(path: Path, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return ``[rows, columns]`` HU of one file; ``shape`` is (columns, rows)."""
    sitk: Any = require("SimpleITK", "dicom", USE)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
        plane = sitk.GetArrayFromImage(image).reshape(shape[1], shape[0])
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path.name} cannot be decoded; copy or export it again") from error
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        raise ValueError(f"{path.name} contains NaN or infinite values; export it again")
    return np.asarray(plane, np.float32)
