"""The part of a volume that holds something."""

import numpy as np

Box = tuple[slice, slice, slice]


def bounding_box(volume: np.ndarray) -> Box | None:
    """The smallest box round all voxels of ``[S, H, W]`` that aren't 0; None if all are.

    Args:
        volume: bool or unsigned integers.
    """
    # One pass over the whole, then only over the columns of voxels that hold something.
    plane = np.bitwise_or.reduce(volume, axis=0) != 0
    if not plane.any():
        return None
    rows, columns = _extent(plane.any(axis=1)), _extent(plane.any(axis=0))
    slices = _extent(np.asarray(volume[:, rows, columns].any(axis=(1, 2))))
    return slices, rows, columns


def _extent(holds: np.ndarray) -> slice:
    (where,) = np.nonzero(holds)
    return slice(int(where[0]), int(where[-1]) + 1)
