"""Connected components of a mask and their sizes."""

from typing import Any, Literal

import cc3d
import numpy as np
from numpy.typing import NDArray

# Objects use 26-connectivity and cavities 6-connectivity, the consistent pair in digital topology.
TOUCHING: Literal[26] = 26
FACES: Literal[6] = 6


def components(
    mask: NDArray[np.bool_], connectivity: Literal[6, 26] = TOUCHING
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Number the connected components of a mask ``[S, H, W]``.

    Returns:
        ``[S, H, W]`` unsigned component numbers from 1, 0 outside the mask; and ``[components + 1]``
        voxels of each number, with 0 voxels for number 0.
    """
    numbers, count = cc3d.connected_components(
        np.ascontiguousarray(mask), connectivity=connectivity, return_N=True
    )
    sizes = np.bincount(numbers[mask], minlength=count + 1)
    return numbers, sizes
