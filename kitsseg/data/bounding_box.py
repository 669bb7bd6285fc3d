"""Bounding box of the nonzero voxels of a volume."""

from typing import Any

import numpy as np
import numpy.typing as npt

Box = tuple[slice, slice, slice]


def bounding_box(volume: npt.NDArray[Any]) -> Box | None:
    """Return the smallest box that contains all nonzero voxels; None if there are none.

    ``volume`` is ``[S, H, W]``, bool or unsigned integers.
    """
    plane = np.bitwise_or.reduce(volume, axis=0) != 0
    if not plane.any():
        return None
    rows, columns = _extent(plane.any(axis=1)), _extent(plane.any(axis=0))
    slices = _extent(np.asarray(volume[:, rows, columns].any(axis=(1, 2))))
    return slices, rows, columns


def _extent(nonzero: npt.NDArray[np.bool_]) -> slice:
    (where,) = np.nonzero(nonzero)
    return slice(int(where[0]), int(where[-1]) + 1)
