"""NIfTI headers: shape, type and orientation of a volume."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel import orientations

from kitsseg.data.io.nifti.stream import GZIP_MAGIC, DamagedError, Stream, header_size

# Slices run from head to foot, rows from front to back, columns from the patient's right to left.
ORIENTATION = ("I", "P", "L")
LPS_TO_RAS = np.diag([-1.0, -1, 1, 1])  # DICOM and ITK count to the patient's left and back
UNITS = {1: "metres", 3: "micrometres"}  # codes of ``xyzt_units`` other than mm
MAX_APART_MM = 0.5  # rounding errors of sform and qform are smaller
MAX_SHEAR = 1e-3  # cosine of two axes
MAX_QUATERNION_ERROR, QUATERNION_MARGIN = 1e-3, 1e-7
HEADERS: dict[int, Any] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}


@dataclass(frozen=True)
class Layout:
    """Layout of a volume in its file, and the transformation from its axes to `ORIENTATION`.

    Attributes:
        shape, dtype: shape and type of the stored voxels.
        scaling: slope and intercept; None if stored values need no scaling.
        affine: ``[4, 4]``, from the file's axes to mm (right, anterior, superior).
        offset: number of bytes before the first voxel.
        change: ``[3, 2]``, for each axis of the file the target axis, and 1 or -1 if it is flipped.
        warnings: what is doubtful about the geometry.
        header: nibabel header of the file, for results on its grid; None if it is not a NIfTI file.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    scaling: tuple[float, float] | None
    affine: npt.NDArray[np.float64]
    offset: int
    change: npt.NDArray[np.float64]
    warnings: tuple[str, ...] = ()
    header: Any = None

    @property
    def axes(self) -> str:
        """The directions of the file's axes, such as IPL."""
        return "".join(orientations.aff2axcodes(self.affine))

    @property
    def turned_shape(self) -> tuple[int, int, int]:
        """Shape ``(S, H, W)`` in `ORIENTATION`."""
        slices, height, width = (self.shape[int(axis)] for axis in np.argsort(self.change[:, 0]))
        return slices, height, width

    @property
    def turned_affine(self) -> npt.NDArray[np.float64]:
        """``[4, 4]``, from (slice, row, column) to mm."""
        return np.asarray(self.affine @ orientations.inv_ornt_aff(self.change, self.shape))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of slices (perpendicular to them), rows and columns; their product is one voxel."""
        z, y, x = (float(mm) for mm in nib.affines.voxel_sizes(self.turned_affine))
        return (1000 * self.voxel_ml / (y * x) if self.is_sheared else z), y, x

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, also where a tilted gantry makes it a parallelepiped."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def is_sheared(self) -> bool:
        """Whether the axes are not perpendicular, as with a tilted gantry."""
        axes = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return bool(np.abs(axes.T @ axes - np.eye(3)).max() > MAX_SHEAR)

    def in_file_axes(self, turned: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of ``turned`` ``[S, H, W]`` along the file's axes."""
        view = turned.transpose(self.change[:, 0].astype(int))
        steps = [slice(None, None, int(step)) for step in self.change[:, 1]]
        return view[tuple(steps)]


def parse_layout(stream: Stream) -> Layout:
    """Return the layout from a checked header; the messages of errors do not name the file.

    Raises `DamagedError`, without a remedy, or `ValueError` if the file is not a CT volume.
    """
    header = _parse_header(stream)
    try:
        shape, dtype, affine = header.get_data_shape(), header.get_data_dtype(), header.get_best_affine()
        (slope, inter), offset = header.get_slope_inter(), header.get_data_offset()
        if offset < header.single_vox_offset:  # nibabel would read the header as voxels
            raise ValueError(f"voxel offset {offset}; at least {header.single_vox_offset}")
    except (nib.spatialimages.HeaderDataError, ValueError, OverflowError, KeyError) as error:
        raise DamagedError(f"has a damaged header ({error})") from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        remedy = "export one volume of it" if len(shape) > 3 else "export the whole series"
        raise ValueError(f"has {len(shape)} dimensions, {shape}; a CT volume has 3; {remedy}")
    if min(shape) < 1:
        raise DamagedError(f"has no voxels: its shape is {shape}")
    if dtype.kind not in "iuf":
        raise ValueError(f"contains {dtype} values; export HU or labels, as integers or floats")
    if offset + math.prod(shape) * dtype.itemsize > stream.max_bytes:
        raise DamagedError(f"has shape {shape} in its header, more than the file can contain")
    scaling = None if slope is None or (slope, inter) == (1, 0) else (float(slope), float(inter))
    spacing_mm = nib.affines.voxel_sizes(affine)
    if not (np.isfinite(affine).all() and (spacing_mm > 0).all()):
        raise ValueError(f"has a spacing of {spacing_mm} mm; must be above 0; correct its header")
    change, doubts = orientation_change(affine), tuple(_doubts(header, affine, shape))
    return Layout(shape, dtype, scaling, affine, offset, change, doubts, header)


def _doubts(header: Any, affine: npt.NDArray[np.float64], shape: Sequence[int]) -> Iterator[str]:
    """Yield a warning for each part of the header that readers may understand differently."""
    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        yield "neither sform nor qform is set: its orientation is unknown, and the labels may be wrong"
    if header["sform_code"] > 0 and header["qform_code"] > 0:
        corners = np.array([[0, 0, 0, 1], [*np.subtract(shape, 1), 1]], float).T
        try:
            apart_mm = float(np.abs((header.get_qform() - affine) @ corners).max())
        except ValueError:  # the quaternion is longer than 1
            apart_mm = math.nan
        if not apart_mm <= MAX_APART_MM:
            yield (
                f"sform and qform differ by up to {apart_mm:.3g} mm: viewers that read the qform show "
                "it elsewhere"
            )
    if (unit := UNITS.get(int(header["xyzt_units"]) & 7, "mm")) != "mm":
        yield f"the header gives lengths in {unit}; they are read as mm"


def _parse_header(stream: Stream) -> Any:
    """Return the nibabel header with the repairs that nibabel and ITK make as well."""
    start = stream.start(max(HEADERS))
    if not start:
        raise DamagedError("is empty")
    size = header_size(start)
    if not size or len(start) < size:
        twice = " (compressed twice?)" if start.startswith(GZIP_MAGIC) else ""
        raise DamagedError(f"is not a NIfTI file: it starts with {start[:12]!r}{twice}")
    header = HEADERS[size](start[:size], check=False)
    if not bytes(header["magic"]).startswith(b"n+"):
        raise ValueError("is half of a .hdr/.img pair or in an older format; convert it to .nii.gz")
    pixdim = header["pixdim"]
    pixdim[0] = -1 if pixdim[0] == -1 else 1  # qfac, by nifti1.h
    pixdim[1:4] = np.abs(pixdim[1:4])
    names = ("quatern_b", "quatern_c", "quatern_d")
    length = math.hypot(*(float(header[name]) for name in names))
    if 1 < length <= 1 + MAX_QUATERNION_ERROR:  # by rounding
        for name in names:
            header[name] = header[name] / length * (1 - QUATERNION_MARGIN)
    return header


def orientation_change(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return `Layout.change` for an affine ``[4, 4]``; raise `ValueError` if an axis has length zero."""
    orientation = orientations.io_orientation(affine)
    if np.isnan(orientation).any():
        raise ValueError("has an affine with a zero axis; correct its header")
    target = orientations.axcodes2ornt(ORIENTATION)
    return np.asarray(orientations.ornt_transform(orientation, target))


def copy_transposed(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    """Copy ``source`` ``[A, B, C]`` into ``target`` ``[C, B, A]``; either may have any memory order.

    Works on planes with the contiguous axes of both. NumPy's copy misses the cache on every voxel.
    """
    transposed = target.T
    fastest = {int(np.argmin(np.abs(array.strides))) for array in (source, transposed)}
    if len(fastest) == 1 or min(source.shape) == 1:
        transposed[...] = source
        return
    (axis,) = {0, 1, 2} - fastest
    for plane, out in zip(np.moveaxis(source, axis, 0), np.moveaxis(transposed, axis, 0), strict=True):
        out.T[...] = cv2.transpose(plane)
