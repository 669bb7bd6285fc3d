"""Volumes in memory: arrays, tensors, and images of nibabel, SimpleITK and MONAI."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kitsseg.data.io.nifti.header import LPS_TO_RAS, Layout, orientation_change
from kitsseg.data.io.nifti.read import Image
from kitsseg.data.io.nifti.voxels import ToHu
from kitsseg.data.io.read_scan import checked

ImageLike: TypeAlias = Any  # a file name, an array, a tensor, or an image of a package


def in_memory(image: ImageLike, spacing_mm: Sequence[float] | None, offset_hu: int) -> Image:
    """Return a volume in HU, checked as `kitsseg.data.io.read_scan.read_scan` does.

    ``image`` is an image of nibabel, SimpleITK or MONAI (`MetaTensor`) in any orientation; or an array,
    tensor or nested list ``[S, H, W]`` in `kitsseg.data.io.nifti.header.ORIENTATION`, with
    ``spacing_mm`` of slices, rows and columns (None for 1 mm). ``offset_hu`` is added to each voxel.
    Raises `ValueError` if it is not a volume in HU, or the spacing is not three positive numbers.
    """
    if has_own_spacing(image) and spacing_mm is not None:
        raise ValueError(f"spacing_mm={spacing_mm}: only for arrays; the image has its own spacing")
    if hasattr(image, "GetDirection"):
        values, affine = _from_simpleitk(image)
    else:
        try:
            values = np.asarray(getattr(image, "dataobj", image))  # of nibabel
        except (TypeError, RuntimeError) as error:  # a tensor on a GPU, or one that needs a gradient
            raise ValueError(f"image: cannot be converted to an array ({error})") from error
        affine = _affine_of((1, 1, 1) if spacing_mm is None else spacing_mm)
        if has_own_spacing(image):
            if image.affine is None:
                raise ValueError(
                    "image has no affine, so its orientation is unknown; pass an array instead"
                )
            affine = np.asarray(image.affine, float)
            while values.ndim > 3 and values.shape[-1] == 1:  # as for a file
                values = values[..., 0]
    if values.ndim != 3 or 0 in values.shape or values.dtype.kind not in "iuf":
        raise ValueError(
            f"image has shape {values.shape} and type {values.dtype}; expected numbers of shape "
            "[S, H, W] with sides that are all at least 1"
        )
    if not np.isfinite([values.min(), values.max()]).all():
        raise ValueError("image has NaN or infinite values; replace them by air, -1024 HU")
    layout = Layout(values.shape, values.dtype, None, affine, 0, orientation_change(affine))
    hu, convert = np.empty(layout.turned_shape, np.int16), ToHu(offset_hu)
    for plane, out in zip(values, layout.in_file_axes(hu), strict=True):
        convert(np.array(plane), None, out)  # a copy: the array is the caller's
    try:
        return checked(Image(hu, (convert.low, convert.high), layout))
    except ValueError as error:
        raise ValueError(f"image: {error}") from error


def has_own_spacing(image: ImageLike) -> bool:
    """Return whether ``image`` is an image of nibabel, MONAI (both with an affine) or SimpleITK."""
    return hasattr(image, "affine") or hasattr(image, "GetDirection")


def _affine_of(spacing_mm: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the affine of an array with this spacing of slices, rows and columns."""
    try:
        z, y, x = (float(mm) for mm in spacing_mm)
    except (TypeError, ValueError):
        z = y = x = math.nan
    if not all(0 < mm < math.inf for mm in (z, y, x)):
        raise ValueError(f"spacing_mm={spacing_mm}: must be three positive numbers, slices first")
    return np.array([[0, 0, -x, 0], [0, -y, 0, 0], [-z, 0, 0, 0], [0, 0, 0, 1]])


def _from_simpleitk(image: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Return voxels ``[k, j, i]`` and the affine from these axes to RAS."""
    import SimpleITK as sitk  # the caller has it

    if image.GetDimension() != 3:
        raise ValueError(f"image has {image.GetDimension()} dimensions; a CT volume has 3")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), (LPS_TO_RAS @ affine)[:, [2, 1, 0, 3]]
