"""NIfTI headers: shape, type and orientation of a volume."""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.orientations import (
    aff2axcodes,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from kitsseg.data.io.stream import GZIP_MAGIC, DamagedError, Stream

# Slices run from head to foot, rows from front to back, columns from the patient's right to left.
ORIENTATION = ("I", "P", "L")
HEADERS: dict[int, Any] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}


@dataclass(frozen=True)
class Layout:
    """Layout of a volume in its file, and the transformation from its axes to `ORIENTATION`.

    Attributes:
        shape: along the file's axes.
        dtype: of the stored voxels.
        scaling: slope and intercept; None if stored values need no scaling.
        affine: ``[4, 4]``, from the file's axes to mm (right, anterior, superior).
        offset: number of bytes before the first voxel.
        change: ``[3, 2]``, for each axis of the file the target axis, and 1 or -1 if it is flipped.
        says_orientation: the header has a qform or an sform. Without them the orientation is a guess.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    scaling: tuple[float, float] | None
    affine: npt.NDArray[np.float64]
    offset: int
    change: npt.NDArray[np.float64]
    says_orientation: bool

    @property
    def axes(self) -> str:
        """The directions of the file's axes, such as IPL."""
        return "".join(aff2axcodes(self.affine))

    @property
    def turned_shape(self) -> tuple[int, int, int]:
        """Shape ``(S, H, W)`` in `ORIENTATION`."""
        places = self.change[:, 0].astype(int)
        slices, height, width = (self.shape[int(np.flatnonzero(places == axis)[0])] for axis in range(3))
        return slices, height, width

    @property
    def turned_affine(self) -> npt.NDArray[np.float64]:
        """``[4, 4]``, from (slice, row, column) to mm."""
        return np.asarray(self.affine @ inv_ornt_aff(self.change, self.shape))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of slices, rows and columns."""
        z, y, x = (float(mm) for mm in nib.affines.voxel_sizes(self.turned_affine))
        return z, y, x

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, also where a tilted gantry makes it a parallelepiped."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def in_file_axes(self, turned: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of ``turned`` ``[S, H, W]`` along the file's axes."""
        view = turned.transpose(self.change[:, 0].astype(int))
        steps = [slice(None, None, int(step)) for step in self.change[:, 1]]
        return view[tuple(steps)]


def parse_layout(stream: Stream) -> Layout:
    """Return the layout from a checked header.

    Raises:
        DamagedError: the file is damaged; the message contains neither file name nor remedy.
        ValueError: the file is not a CT volume; the message does not contain the file name.
    """
    header = _parse_header(stream)
    try:
        shape, dtype, affine = header.get_data_shape(), header.get_data_dtype(), header.get_best_affine()
        (slope, inter), offset = header.get_slope_inter(), header.get_data_offset()
    except (nib.spatialimages.HeaderDataError, ValueError, OverflowError, KeyError) as error:
        raise DamagedError(f"has a damaged header ({error})") from error
    min_offset = header.single_vox_offset
    if offset < min_offset:  # nibabel would read the header as voxels
        raise DamagedError(f"has a damaged header (voxel offset {offset}; at least {min_offset})")
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
    change = orientation_change(affine)
    says_orientation = bool(header["sform_code"] > 0 or header["qform_code"] > 0)
    return Layout(tuple(shape), dtype, scaling, affine, offset, change, says_orientation)


def _parse_header(stream: Stream) -> Any:
    start = stream.peek(max(HEADERS))
    if not start:
        raise DamagedError("is empty")
    size = {int.from_bytes(start[:4], order) for order in ("little", "big")} & set(HEADERS)
    if not size or len(start) < max(size):
        twice = "" if start[:2] != GZIP_MAGIC else " (compressed twice?)"
        raise DamagedError(f"is not a NIfTI file: it starts with {start[:12]!r}{twice}")
    header = HEADERS[min(size)](start[: min(size)], check=False)
    if not bytes(header["magic"]).startswith(b"n+"):
        raise ValueError("is half of a .hdr/.img pair or in an older format; convert it to .nii.gz")
    return header


def orientation_change(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return `Layout.change` of a volume with this ``[4, 4]`` affine.

    Raises:
        ValueError: an axis has length zero.
    """
    orientation = io_orientation(affine)
    if np.isnan(orientation).any():
        raise ValueError("has an affine with a zero axis; correct its header")
    return np.asarray(ornt_transform(orientation, axcodes2ornt(ORIENTATION)))


def copy_transposed(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    """Copy ``source`` ``[A, B, C]`` into ``target`` ``[C, B, A]``; either may have any memory order.

    Works on planes that contain the contiguous axes of both arrays. NumPy's own transposed copy takes
    ten times as long, because it misses the cache on every voxel.
    """
    transposed = target.T
    fastest = {int(np.argmin(np.abs(array.strides))) for array in (source, transposed)}
    if len(fastest) == 1 or min(source.shape) == 1:
        transposed[...] = source
        return
    (axis,) = {0, 1, 2} - fastest
    for plane, out in zip(np.moveaxis(source, axis, 0), np.moveaxis(transposed, axis, 0), strict=True):
        out.T[...] = cv2.transpose(plane)
