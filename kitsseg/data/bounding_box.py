"""Bounding boxes of the nonzero voxels of a volume, and of the nonzero pixels of a slice."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Box = tuple[slice, slice, slice]


def bounding_box(volume: npt.NDArray[Any]) -> Box | None:
    """Return the smallest box that contains all nonzero voxels; None if there are none.

    ``volume`` is ``[S, H, W]``, bool or unsigned integers.
    """
    box = plane_box(np.bitwise_or.reduce(volume, axis=0) != 0)
    if box is None:
        return None
    ((slices,),) = ndimage.find_objects(volume[:, *box].any(axis=(1, 2)).astype(np.uint8))
    return slices, *box


def plane_box(plane: npt.NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Return the rows and columns that contain all nonzero pixels ``[H, W]``; None if there are none."""
    return ndimage.find_objects(plane.astype(np.uint8))[0] if plane.any() else None
