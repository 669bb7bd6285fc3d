"""Writing of volumes as NIfTI files on the grid of their image."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip

from kitsseg.data.io.nifti.header import Layout, copy_transposed
from kitsseg.system.files import replacing

BLOCK_BYTES = 1 << 24  # size of the block that is written at once


def save_volume(path: Path, turned: npt.NDArray[Any], layout: Layout, unit: float = 1) -> None:
    """Write a ``.nii`` or ``.nii.gz`` file along the axes of its image; replace it atomically.

    Args:
        turned: ``[S, H, W]`` uint8 or int16, in `kitsseg.data.io.nifti.header.ORIENTATION`.
        layout: layout of the image. The shape, affines, units and texts of its header are kept, but no
            extensions.
        unit: the slope, that is the value of a stored 1.
    """
    header = _make_header(layout) if layout.header is None else layout.header.copy()
    header.set_data_dtype(turned.dtype)
    header.set_slope_inter(unit, 0)
    header["cal_min"] = header["cal_max"] = 0  # the image's display window
    header["vox_offset"] = header.single_vox_offset
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        # Name and time are omitted so that equal volumes give equal files.
        packed = igzip.IGzipFile("", "wb", 2, file, 0) if path.suffix == ".gz" else nullcontext(file)
        with packed as target:
            _write(target, turned, layout, header)


def _make_header(layout: Layout) -> Any:
    """Return a nibabel header for a volume that was not read from NIfTI."""
    header = nib.Nifti1Header()
    header.set_data_shape(layout.shape)
    # A qform cannot express a tilted gantry; readers that prefer it would misplace the label.
    header.set_qform(layout.affine, code="unknown" if layout.is_sheared else "scanner")
    header.set_sform(layout.affine, code="scanner")
    header.set_xyzt_units("mm")
    return header


def _write(file: Any, turned: npt.NDArray[Any], layout: Layout, header: Any) -> None:
    file.write(header.binaryblock + bytes(header.single_vox_offset - len(header.binaryblock)))
    view = layout.in_file_axes(turned)
    i, j, k = layout.shape
    block = np.empty((max(1, min(k, BLOCK_BYTES // (i * j * turned.itemsize))), j, i), turned.dtype)
    for first in range(0, k, len(block)):
        planes = view[:, :, first : first + len(block)]
        part = block[: planes.shape[2]]
        copy_transposed(planes, part)
        file.write(part.data)
