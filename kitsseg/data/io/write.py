"""Volumes of uint8 as NIfTI files on the grid of the image that they belong to."""

from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
from isal import igzip

from kitsseg.data.bounding_box import bounding_box
from kitsseg.data.io.header import HEADERS, Layout
from kitsseg.data.io.stream import Stream
from kitsseg.system.files import replacing

BLOCK_BYTES = 1 << 24  # of the file in memory at once


def read_header(path: Path) -> Any:
    """A NIfTI file's own header, which `kitsseg.data.io.header.read_layout` has found to be one."""
    with Stream(path) as stream:
        start = stream.peek(max(HEADERS))
    size = next(n for n in HEADERS if n in (int.from_bytes(start[:4], o) for o in ("little", "big")))
    return HEADERS[size](start[:size], check=False)


def make_header(layout: Layout) -> Any:
    """A header for a volume that comes from no NIfTI file."""
    header = nib.Nifti1Header()
    header.set_data_shape(layout.shape)
    header.set_qform(layout.affine, code="scanner")
    header.set_sform(layout.affine, code="scanner")
    header.set_xyzt_units("mm")
    return header


def save_volume(path: Path, turned: np.ndarray, layout: Layout, header: Any, unit: float = 1) -> None:
    """Write ``turned`` ``[S, H, W]`` uint8 along the axes of its image, whole or not at all.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        header: of the image; its shape, affines, units and texts stay, its extensions don't.
        unit: what a voxel's 1 means.
    """
    header = header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(unit, 0)
    header["cal_min"] = header["cal_max"] = 0  # the image's window
    header["vox_offset"] = header.single_vox_offset
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        if path.suffix != ".gz":
            _write(file, turned, layout, header)
            return
        # Without a time or a name in it: the same volume is the same file.
        with igzip.IGzipFile("", "wb", 2, file, 0) as zipped:
            _write(zipped, turned, layout, header)


def _write(file: Any, turned: np.ndarray, layout: Layout, header: Any) -> None:
    file.write(header.binaryblock + bytes(header.single_vox_offset - len(header.binaryblock)))
    view = layout.in_file_axes(turned)
    box = bounding_box(view)
    i, j, k = layout.shape
    block = np.zeros((max(1, min(k, BLOCK_BYTES // (i * j))), j, i), np.uint8)
    for first in range(0, k, len(block)):
        last = min(first + len(block), k)
        if box is not None:  # most of a label volume is zeros, which stay
            planes = slice(max(first, box[2].start), min(last, box[2].stop))
            block[...] = 0
            if planes.start < planes.stop:
                inside = slice(planes.start - first, planes.stop - first)
                _place(view[box[0], box[1], planes], block[inside, box[1], box[0]])
        file.write(block[: last - first].data)


def _place(view: np.ndarray, block: np.ndarray) -> None:
    """Copy ``view`` (i, j, k), whose memory may run along any axis, into ``block`` (k, j, i).

    Plane by plane along the two axes that run fastest on either side, as when reading (`nifti`): NumPy's
    own transposed copy takes ten times as long.
    """
    fastest = int(np.argmin(np.abs(view.strides)))
    if fastest == 0:
        block[...] = view.T
        return
    for number in range(block.shape[1 if fastest == 2 else 0]):
        plane = view[:, number, :] if fastest == 2 else view[:, :, number]
        target = block[:, number, :] if fastest == 2 else block[number]
        target[...] = cv2.transpose(plane)
