"""How a NIfTI file's voxels lie, by its header, and the way to KiTS19's orientation."""

import math
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.orientations import (
    aff2axcodes,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from kitsseg.data.io.stream import GZIP_MAGIC, DamagedError, Stream

# Slices run from head to foot, rows from front to back, columns to the patient's left.
ORIENTATION = ("I", "P", "L")
HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}


@dataclass(frozen=True)
class Layout:
    """How a file's voxels lie: what its header says, and the way from its axes to `ORIENTATION`.

    Attributes:
        shape: along the file's own axes.
        dtype: of the stored voxels.
        scaling: slope and intercept, None if the voxels are the values.
        affine: 4 x 4, the file's axes to mm (right, anterior, superior).
        offset: bytes before the first voxel.
        change: ``[3, 2]``, for each of the file's axes the turned one, and 1 or -1 if it's flipped.
        says_orientation: the header has a qform or an sform; without, NIfTI guesses.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    scaling: tuple[float, float] | None
    affine: np.ndarray
    offset: int
    change: np.ndarray
    says_orientation: bool

    @property
    def axes(self) -> str:
        """The directions of the file's own axes, such as IPL."""
        return "".join(aff2axcodes(self.affine))

    @property
    def turned_shape(self) -> tuple[int, int, int]:
        """(slices, H, W)."""
        places = self.change[:, 0].astype(int)
        slices, height, width = (self.shape[int(np.flatnonzero(places == axis)[0])] for axis in range(3))
        return slices, height, width

    @property
    def turned_affine(self) -> np.ndarray:
        """4 x 4: (slice, row, column) to mm."""
        return np.asarray(self.affine @ inv_ornt_aff(self.change, self.shape))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """The distance of slices, rows and columns."""
        z, y, x = (float(mm) for mm in nib.affines.voxel_sizes(self.turned_affine))
        return z, y, x

    @property
    def voxel_ml(self) -> float:
        """The volume of a voxel, which a tilted gantry makes a parallelepiped."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def in_file_axes(self, turned: np.ndarray) -> np.ndarray:
        """A view of an array (slices, H, W) along the file's own axes."""
        view = turned.transpose(self.change[:, 0].astype(int))
        steps = [slice(None, None, int(step)) for step in self.change[:, 1]]
        return view[tuple(steps)]


def parse_layout(stream: Stream) -> Layout:
    """What the header says, checked.

    Raises:
        DamagedError: the file is not what it was when it was written; the message lacks the remedy, too.
        ValueError: it's no header of a CT volume; the message lacks the file's name.
    """
    start = stream.peek(max(HEADERS))
    if not start:
        raise DamagedError("is empty")
    size = {int.from_bytes(start[:4], order) for order in ("little", "big")} & set(HEADERS)
    if not size or len(start) < max(size):
        zipped = "" if start[:2] != GZIP_MAGIC else " (compressed twice?)"
        raise DamagedError(f"isn't NIfTI: it begins with {start[:12]!r}{zipped}")
    header = HEADERS[min(size)](start[: min(size)], check=False)
    if not bytes(header["magic"]).startswith(b"n+"):
        raise ValueError("is half of a .hdr/.img pair or of an older format; convert it to .nii.gz")
    try:
        shape, dtype, affine = header.get_data_shape(), header.get_data_dtype(), header.get_best_affine()
        (slope, inter), offset = header.get_slope_inter(), header.get_data_offset()
    except (nib.spatialimages.HeaderDataError, ValueError, OverflowError, KeyError) as error:
        raise DamagedError(f"has a damaged header ({error})") from error
    least = header.single_vox_offset
    if offset < least:  # 0 as well, from which nibabel reads the header's bytes as voxels
        raise DamagedError(f"has a damaged header (its voxels begin at byte {offset}, before {least})")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        what = "one volume of it alone" if len(shape) > 3 else "the whole series"
        raise ValueError(f"has {len(shape)} dimensions, {shape}; a CT volume has 3: export {what}")
    if min(shape) < 1:
        raise DamagedError(f"has no voxels: its shape is {shape}")
    if dtype.kind not in "iuf":
        raise ValueError(f"holds {dtype} values; export HU or labels, as integers or floats")
    if offset + math.prod(shape) * dtype.itemsize > stream.most_bytes:
        raise DamagedError(f"promises {shape} voxels, more than its bytes can hold")
    scaling = None if slope is None or (slope, inter) == (1, 0) else (float(slope), float(inter))
    spacing = nib.affines.voxel_sizes(affine)
    if not (np.isfinite(affine).all() and (spacing > 0).all()):
        raise ValueError(f"has a spacing of {spacing} mm; it must be above 0: correct its header")
    change = way_to_orientation(affine)
    says = bool(header["sform_code"] > 0 or header["qform_code"] > 0)
    return Layout(tuple(shape), dtype, scaling, affine, offset, change, says)


def way_to_orientation(affine: np.ndarray) -> np.ndarray:
    """`Layout.change` of a volume with this 4 x 4 affine.

    Raises:
        ValueError: an axis leads nowhere.
    """
    orientation = io_orientation(affine)
    if np.isnan(orientation).any():
        raise ValueError("has an affine with a zero axis; correct its header")
    return np.asarray(ornt_transform(orientation, axcodes2ornt(ORIENTATION)))
