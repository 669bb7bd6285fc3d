"""Bounding boxes of the nonzero voxels of a volume, and of the nonzero pixels of a slice."""

from typing import Any

import numpy as np
import numpy.typing as npt

Box = tuple[slice, slice, slice]


def bounding_box(volume: npt.NDArray[Any]) -> Box | None:
    """Return the smallest box that contains all nonzero voxels; None if there are none.

    ``volume`` is ``[S, H, W]``, bool or unsigned integers.
    """
    box = plane_box(np.bitwise_or.reduce(volume, axis=0) != 0)
    if box is None:
        return None
    rows, columns = box
    slices = _extent(np.asarray(volume[:, rows, columns].any(axis=(1, 2))))
    return slices, rows, columns


def plane_box(plane: npt.NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Return the rows and columns that contain all nonzero pixels ``[H, W]``; None if there are none."""
    if not plane.any():
        return None
    return _extent(np.asarray(plane.any(axis=1))), _extent(np.asarray(plane.any(axis=0)))


def _extent(nonzero: npt.NDArray[np.bool_]) -> slice:
    (where,) = np.nonzero(nonzero)
    return slice(int(where[0]), int(where[-1]) + 1)
