"""Connected components of a mask, with their sizes."""

from typing import Literal

import cc3d
import numpy as np

# Voxels that share a corner belong together (26); for cavities only those that share a face (6), so
# that what is closed and what is open never cross.
TOUCHING: Literal[26] = 26
FACES: Literal[6] = 6


def components(
    mask: np.ndarray, connectivity: Literal[6, 26] = TOUCHING
) -> tuple[np.ndarray, np.ndarray]:
    """Number the components of ``[S, H, W]`` bool.

    Returns:
        ``[S, H, W]`` unsigned numbers from 1 (0 outside the mask), and ``[components + 1]`` int64: the
        voxels of each number, 0 for the outside.
    """
    numbers, count = cc3d.connected_components(
        np.ascontiguousarray(mask), connectivity=connectivity, return_N=True
    )
    sizes = np.bincount(numbers[mask], minlength=count + 1)
    return numbers, sizes
