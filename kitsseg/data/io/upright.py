"""Volumes of a tilted gantry on an upright grid, for viewers that cannot show slanted axes."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from kitsseg.data.io.nifti.header import MAX_SHEAR, Layout, orientation_change
from kitsseg.data.io.nifti.read import Image
from kitsseg.data.io.nifti.write import save_volume
from kitsseg.data.labels import AIR_HU, BACKGROUND


def save_upright(image: Image, label: npt.NDArray[np.uint8], label_path: Path, image_path: Path) -> None:
    """Write a label ``[S, H, W]`` and its image as NIfTI files with perpendicular axes.

    Slice k is shifted in its plane by k times the shift between adjacent slices. Labels are shifted by
    whole pixels, so that no voxel is lost or duplicated. Raises `ValueError` if no two axes are
    perpendicular.
    """
    source = _slices_last(image.layout)
    affine = source.affine.copy()
    # How many columns and rows each slice is shifted against the one before.
    shift = np.linalg.lstsq(affine[:3, :2], affine[:3, 2], rcond=None)[0]
    ends = shift * (source.shape[2] - 1)
    affine[:3, 3] = (source.affine @ [*np.minimum(ends, 0), 0, 1])[:3]
    affine[:3, 2] -= affine[:3, :2] @ shift
    width, height = (n + math.ceil(abs(end)) for n, end in zip(source.shape[:2], ends, strict=True))
    shape, change = (width, height, source.shape[2]), orientation_change(affine)
    target = replace(source, shape=shape, affine=affine, change=change, header=None)
    save_volume(label_path, _resample(label, source, target, BACKGROUND, linear=False), target)
    save_volume(image_path, _resample(image.hu, source, target, AIR_HU, linear=True), target)


def _slices_last(layout: Layout) -> Layout:
    """Return the layout with the axis across the slices as the last one.

    Of the axes whose other two are perpendicular, it is the one nearest to the patient's long axis.
    """
    directions = layout.affine[:3, :3] / np.linalg.norm(layout.affine[:3, :3], axis=0)
    cosines = np.abs(directions.T @ directions)
    orders = [order for order in ((0, 1, 2), (0, 2, 1), (1, 2, 0)) if cosines[order[:2]] <= MAX_SHEAR]
    if not orders:
        raise ValueError("upright: no two axes of the volume are perpendicular; set upright=false")
    order = max(orders, key=lambda order: round(abs(directions[2, order[2]]), 3))
    i, j, k = (layout.shape[axis] for axis in order)
    affine, change = layout.affine[:, [*order, 3]], layout.change[[*order]]
    return replace(layout, shape=(i, j, k), affine=affine, change=change)


def _resample(
    turned: npt.NDArray[np.generic], layout: Layout, target: Layout, outside: int, linear: bool
) -> npt.NDArray[np.generic]:
    """Return a volume ``[S, H, W]`` on the grid ``target``, with ``outside`` where it has no voxel."""
    out = np.empty(target.turned_shape, turned.dtype)
    source_view, view = layout.in_file_axes(turned), target.in_file_axes(out)
    to_source = np.linalg.solve(layout.affine, target.affine)
    flags = (cv2.INTER_LINEAR if linear else cv2.INTER_NEAREST) | cv2.WARP_INVERSE_MAP
    for k in range(layout.shape[2]):
        offset = to_source[:2, 3] + k * to_source[:2, 2]
        matrix = np.column_stack([np.eye(2), offset if linear else np.floor(offset + 0.5)])
        plane = np.ascontiguousarray(source_view[:, :, k].T)
        moved = cv2.warpAffine(plane, matrix, target.shape[:2], flags=flags, borderValue=outside)
        view[:, :, k] = moved.T
    return out
