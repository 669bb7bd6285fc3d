"""Reading of CT series in DICOM format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.data.io.dicom_search import USE, UnusableError, numbers, read_header, value
from kitsseg.data.io.nifti.header import LPS_TO_RAS, Layout, orientation_change
from kitsseg.data.io.nifti.read import Image
from kitsseg.data.io.nifti.voxels import ToHu
from kitsseg.data.io.scan import Scan
from kitsseg.data.labels import AIR_HU
from kitsseg.system.optional_packages import require

# Tolerances for rounded values. A missing slice shifts others by at least a quarter of the distance.
SAME_DIRECTION, SAME_MM, OFF_GRID = 1e-3, 1e-3, 0.2
NUMBERS = {  # attributes that every slice needs, with their number of values
    "ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2, "Rows": 1, "Columns": 1,
}  # fmt: skip
ENCAPSULATED = 0xFFFFFFFF  # length of compressed pixels
Floats = npt.NDArray[np.float64]


def read_series(scan: Scan, offset_hu: int) -> Image:
    """Return the volume of a series, unchecked; see `kitsseg.data.io.read_scan.read_scan`."""
    convert, air, padded = ToHu(offset_hu), AIR_HU - offset_hu, 0
    try:
        headers = []
        for path in scan.files:
            try:
                headers.append(read_header(path))
            except UnusableError as error:
                raise ValueError(f"{path.name} {error}; copy or export it again") from error
        layout = series_layout(scan.files, headers)
        warnings = scan.warnings + layout.warnings + _check_pixels(scan.files, headers)
        hu: npt.NDArray[np.int16] = np.empty(layout.turned_shape, np.int16)
        view = layout.in_file_axes(hu)
        for k, (path, header) in enumerate(zip(scan.files, headers, strict=True)):
            plane = _pixels(path, layout.shape[:2])
            if (padding := _padding(header)) is not None:
                outside = (plane >= padding[0]) & (plane <= padding[1])
                padded += int(outside.sum()) if padding[1] > air else 0
                plane[outside] = air
            convert(plane.T, None, view[:, :, k])
    except (ValueError, OSError) as error:
        raise ValueError(f"{scan.label}: {error}") from error
    if padded:
        warnings += (f"{padded} voxels have the PixelPaddingValue and are read as air",)
    return Image(hu, (convert.low, convert.high), layout, warnings)


def series_layout(paths: Sequence[Path], headers: Sequence[Any]) -> Layout:
    """Return the layout (columns, rows, slices) of a series, whose slices are in order.

    Raises `ValueError` if the slices do not form a volume: sizes, directions or spacings differ, or
    slices are missing or duplicated.
    """
    if any(value(header, "NumberOfFrames") not in (None, 0, 1) for header in headers):
        raise ValueError("contains several frames in one file; convert it to NIfTI")
    table: dict[str, Floats] = {}
    for attribute, count in NUMBERS.items():
        rows = [numbers(header, attribute, count) for header in headers]
        for path, numbers_of_slice in zip(paths, rows, strict=True):
            if numbers_of_slice is None:
                raise ValueError(f"{path.name} lacks {attribute} of {count} numbers; export it again")
        table[attribute] = np.array(rows)
    sizes = np.unique(np.hstack([table["Columns"], table["Rows"]]).astype(int), axis=0).tolist()
    if len(sizes) > 1:
        raise ValueError(f"has slices of several sizes, {[*map(tuple, sizes)]}; export it again")
    directions, spacings = table["ImageOrientationPatient"], table["PixelSpacing"]
    if np.abs(directions - directions[0]).max() > SAME_DIRECTION:
        raise ValueError("has slices of several directions; export each as its own series")
    row, column = directions[0].reshape(2, 3)
    lengths, product = np.linalg.norm([row, column], axis=1), row @ column
    if np.abs([*(lengths - 1), product]).max() > SAME_DIRECTION:
        raise ValueError(
            f"has an ImageOrientationPatient of {directions[0].tolist()} with lengths {lengths[0]:.4g} "
            f"and {lengths[1]:.4g} and product {product:.4g}; must be 1, 1 and 0 up to "
            f"{SAME_DIRECTION:g}; export it again"
        )
    if np.abs(spacings - spacings[0]).max() > SAME_MM or not (spacings > 0).all():
        raise ValueError(f"has pixels of {np.unique(spacings).tolist()} mm; export it again")
    places, thickness_mm = table["ImagePositionPatient"], numbers(headers[0], "SliceThickness", 1)
    warnings: tuple[str, ...] = ()
    if len(places) > 1:
        step = _step(paths, places)
    elif thickness_mm is not None and thickness_mm[0] > 0:
        step = np.cross(row, column) * thickness_mm
    else:
        step = np.cross(row, column)
        warnings = ("it is a single slice of unknown thickness; volumes assume 1 mm",)
    affine = np.eye(4)
    affine[:3] = np.column_stack([row * spacings[0, 1], column * spacings[0, 0], step, places[0]])
    affine, shape = LPS_TO_RAS @ affine, (*sizes[0], len(headers))
    return Layout(shape, np.dtype(np.int16), None, affine, 0, orientation_change(affine), warnings)


def _check_pixels(paths: Sequence[Path], headers: Sequence[Any]) -> tuple[str, ...]:
    """Return warnings about the stored pixels; raise `ValueError` if they cannot be read as HU."""
    for path, header in zip(paths, headers, strict=True):
        if (kind := value(header, "PhotometricInterpretation")) not in (None, "MONOCHROME2"):
            remedy = "must be MONOCHROME2; convert or export it again"
            raise ValueError(f"{path.name} has the PhotometricInterpretation {kind}; {remedy}")
        slope = numbers(header, "RescaleSlope", 1)
        if value(header, "RescaleSlope") is not None and (slope is None or slope[0] <= 0):
            found = value(header, "RescaleSlope")
            raise ValueError(
                f"{path.name} has a RescaleSlope of {found}; must be above 0; export it again"
            )
        size = [numbers(header, name, 1) for name in ("Rows", "Columns", "BitsAllocated")]
        stored = header.get_item("PixelData", keep_deferred=True).length if "PixelData" in header else 0
        if stored != ENCAPSULATED and all(n is not None for n in size):
            needed = int(np.prod([n[0] for n in size if n is not None])) // 8
            if stored < needed:
                lack = f"holds {stored} of {needed} bytes of pixels"
                raise ValueError(f"{path.name} {lack}; copy or export it again")
    kinds = {str(value(header, "RescaleType")) for header in headers} - {"HU", "None"}
    unknown = f"its RescaleType is {', '.join(sorted(kinds))}, not HU; check that the values are HU"
    return (unknown,) if kinds else ()


def _step(paths: Sequence[Path], places: Floats) -> Floats:
    """Return the vector between slices at ``places`` ``[S, 3]`` in mm, oblique to them after a tilt."""
    distances = np.linalg.norm(np.diff(places, axis=0), axis=1)
    usual = float(np.median(distances))
    if distances.min() < SAME_MM:
        k = int(distances.argmin())
        raise ValueError(
            f"has two different slices at one position, {paths[k]} and {paths[k + 1]}; pass the folder "
            "of each acquisition by itself"
        )
    step = (places[-1] - places[0]) / (len(places) - 1)
    expected = places[0] + np.arange(len(places))[:, None] * step
    if np.linalg.norm(places - expected, axis=1).max() <= OFF_GRID * usual:
        return np.asarray(step)
    gaps = np.abs(distances / usual - 1) > OFF_GRID
    multiples = np.abs(distances / usual - np.rint(distances / usual)) <= OFF_GRID
    if gaps.sum() <= len(distances) // 4 and (multiples & (distances > usual / 2)).all():
        k = int(distances.argmax())
        raise ValueError(
            f"has slices {usual:.3g} mm apart, but {distances[k]:.3g} mm after slice {k + 1}: slices "
            "are missing; copy or export the series again"
        )
    raise ValueError(
        f"has slices {distances.min():.3g} to {distances.max():.3g} mm apart; a volume needs equal "
        "distances; reconstruct or resample it to one distance, and pass it as NIfTI"
    )


def _padding(header: Any) -> tuple[float, float] | None:
    """Return the range of HU that marks pixels outside the scanner's field; None if there is none.

    Source: DICOM PS3.3, C.7.5.1.1.2 (Pixel Padding Value and Pixel Padding Range Limit).
    """
    names = ("PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept")
    first, last, slope, intercept = (numbers(header, name, 1) for name in names)
    if first is None:
        return None
    ends = np.array([first, first if last is None else last])
    ends = ends * (1 if slope is None else slope) + (0 if intercept is None else intercept)
    return float(ends.min()), float(ends.max())


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
    return np.array(plane, np.float32)
