"""Volumes that are in memory already: arrays, tensors, and images of nibabel and SimpleITK."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import nibabel as nib
import numpy as np
import numpy.typing as npt

from kitsseg.data.io.nifti.header import LPS_TO_RAS, ORIENTATION, Layout, orientation_change
from kitsseg.data.io.nifti.read import Image
from kitsseg.data.io.nifti.voxels import INT16
from kitsseg.data.io.scans import checked, shifted

ImageLike: TypeAlias = Any  # a file name, an array, a tensor, or an image of nibabel or SimpleITK


def in_memory(image: ImageLike, spacing_mm: Sequence[float] | None, offset_hu: int) -> Image:
    """Return a volume in HU, checked as `kitsseg.data.io.scans.read_scan` does.

    Args:
        image: ``[S, H, W]`` in HU as an array, tensor or nested list, oriented as ``ORIENTATION``; or an
            image of nibabel or SimpleITK, of any orientation.
        spacing_mm: of slices, rows and columns; None for 1 mm, or for the image's own.
        offset_hu: added to each voxel.

    Raises:
        ValueError: it is not a volume in HU, or the spacing is not three positive numbers.
    """
    if has_own_spacing(image):
        if spacing_mm is not None:
            raise ValueError(f"spacing_mm={spacing_mm}: only for arrays; the image has its own spacing")
        if isinstance(image, nib.spatialimages.SpatialImage):
            values, affine = np.asanyarray(image.dataobj), np.asarray(image.affine, float)
        else:
            values, affine = _from_simpleitk(image)
        values = _as_volume(values)
    else:
        try:
            values = _as_volume(np.asarray(image))
        except (TypeError, RuntimeError) as error:  # a tensor on a GPU, or one that needs a gradient
            raise ValueError(f"image: cannot be converted to an array ({error})") from error
        z, y, x = _checked_spacing((1, 1, 1) if spacing_mm is None else spacing_mm)
        axes = nib.orientations.axcodes2ornt(ORIENTATION)
        affine = np.zeros((4, 4))
        for column, (axis, sign, mm) in enumerate(zip(axes[:, 0], axes[:, 1], (z, y, x), strict=True)):
            affine[int(axis), column] = sign * mm
        affine[3, 3] = 1
    shape = (values.shape[0], values.shape[1], values.shape[2])
    layout = Layout(shape, values.dtype, None, affine, 0, orientation_change(affine))
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("image has NaN or infinite values; replace them by air, -1024 HU")
    hu = np.empty(layout.turned_shape, np.int16)
    # Unlike a file's, the array is the caller's: it is copied, and never changed.
    layout.in_file_axes(hu)[...] = np.rint(values).clip(INT16.min, INT16.max)
    read = Image(hu, (low, high), layout)
    try:
        return checked(read if offset_hu == 0 else shifted(read, offset_hu))
    except ValueError as error:
        raise ValueError(f"image: {error}") from error


def has_own_spacing(image: ImageLike) -> bool:
    """Return whether ``image`` is an image of nibabel or SimpleITK."""
    return isinstance(image, nib.spatialimages.SpatialImage) or hasattr(image, "GetDirection")


def _as_volume(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.ndim != 3 or 0 in values.shape or values.dtype.kind not in "iuf":
        raise ValueError(
            f"image has shape {values.shape} and type {values.dtype}; expected numbers of shape "
            "[S, H, W], all at least 1"
        )
    return values


def _checked_spacing(spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    try:
        z, y, x = (float(mm) for mm in spacing_mm)
    except (TypeError, ValueError):
        raise ValueError(f"spacing_mm={spacing_mm}: must be three numbers, slices first") from None
    if not (np.isfinite([z, y, x]).all() and min(z, y, x) > 0):
        raise ValueError(f"spacing_mm={spacing_mm}: must be three positive numbers")
    return z, y, x


def _from_simpleitk(image: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Return voxels ``[k, j, i]`` and the affine from these axes to RAS."""
    import SimpleITK as sitk  # the caller has it

    if image.GetDimension() != 3:
        raise ValueError(f"image has {image.GetDimension()} dimensions; a CT volume has 3")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    affine = LPS_TO_RAS @ affine
    return sitk.GetArrayFromImage(image), affine[:, [2, 1, 0, 3]]
