"""Class probabilities of a volume from overlapping patches, a few slices at a time.

Patches and weights are those of MONAI's ``sliding_window_inference(mode="gaussian")``. Only the slices
of one row of patches are in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kitsseg.data.labels import AIR_HU, BACKGROUND
from kitsseg.data.store.volume_grid import Shape
from kitsseg.inference.body_crop import EMPTY_HU

Hu = npt.NDArray[np.int16]
# Standard deviation of the weights divided by the side of the patch, and the smallest weight.
SIGMA, MIN_WEIGHT = 0.125, 1e-3


def sliding_window(
    shape: Shape, read: Callable[[int, int], Hu], predict: Callable[[Sequence[Hu]], Iterator[Tensor]],
    classes: int, patch: Shape, overlap: float, device: torch.device,
) -> Iterator[Tensor]:  # fmt: skip
    """Yield the probabilities ``[classes, H, W]`` of each slice of a volume ``[S, H, W]``.

    A volume smaller than the patch is padded with air on both sides. Patches without a voxel above
    `EMPTY_HU` are background.

    Args:
        shape: shape of the volume.
        read: returns the HU ``[b, H, W]`` of slices ``first`` to ``last - 1``. It is called once per
            slice, in order.
        predict: yields the probabilities ``[classes, *patch]`` of each of the patches in HU.
        overlap: overlap of adjacent patches as a share of their side, in [0, 1).
        device: device of the probabilities.
    """
    padded = padded_shape(shape, patch)
    above, *corner = ((long - n) // 2 for long, n in zip(padded, shape, strict=True))
    inside = tuple(slice(start, start + n) for start, n in zip(corner, shape[1:], strict=True))
    starts = [starts_along(n, side, overlap) for n, side in zip(padded, patch, strict=True)]
    places = [(slice(y, y + patch[1]), slice(x, x + patch[2])) for y, x in product(*starts[1:])]
    weights = patch_weights(patch, device)[:, None]
    weight_of_row = torch.zeros(patch[0], 1, *padded[1:], device=device)
    for place in places:
        weight_of_row[:, :, *place] += weights
    weighted = torch.zeros(patch[0], classes, *padded[1:], device=device)
    volume = _rows_of_patches(shape, read, padded, patch[0], starts[0])
    for z, following, hu in zip(starts[0], [*starts[0][1:], padded[0]], volume, strict=True):
        seen = hu.max(axis=0) > EMPTY_HU
        occupied = [place for place in places if seen[place].any()]
        for place in places:
            if not seen[place].any():
                weighted[:, BACKGROUND, *place] += weights[:, 0]
        predictions = predict([hu[:, *place] for place in occupied])
        for place, probabilities in zip(occupied, predictions, strict=True):
            weighted[:, :, *place].addcmul_(probabilities.transpose(0, 1), weights)
        for i in range(max(z, above), min(following, above + shape[0])):
            weight = sum(weight_of_row[i - start] for start in starts[0] if 0 <= i - start < patch[0])
            yield (weighted[i - z] / weight)[:, *inside]
        for new, old in enumerate(range(following - z, patch[0])):
            weighted[new] = weighted[old]
        weighted[patch[0] - (following - z) :] = 0


def padded_shape(shape: Shape, patch: Shape) -> Shape:
    """Return the shape of a volume after padding to at least the size of the patch."""
    return max(shape[0], patch[0]), max(shape[1], patch[1]), max(shape[2], patch[2])


def starts_along(length: int, side: int, overlap: float) -> list[int]:
    """Return the first voxel of each patch along an axis with at least ``side`` voxels."""
    step = max(1, int(side * (1 - overlap)))
    return [min(start, length - side) for start in range(0, length - side + step, step)]


def patch_weights(patch: Shape, device: torch.device) -> Tensor:
    """Return the Gaussian weights of a patch, ``[D, H, W]``."""
    weights = torch.ones(1, device=device)
    for side in patch:
        distance = torch.arange(side, device=device) - (side - 1) / 2
        weights = weights[..., None] * torch.exp(-(distance**2) / (2 * (SIGMA * side) ** 2))
    return weights[0].clamp_min(MIN_WEIGHT)


def _rows_of_patches(
    shape: Shape, read: Callable[[int, int], Hu], padded: Shape, depth: int, starts: Sequence[int]
) -> Iterator[Hu]:
    """Yield the ``depth`` slices from each start, padded with air. The yielded array is reused."""
    above, top, left = ((long - n) // 2 for long, n in zip(padded, shape, strict=True))
    hu = np.full((depth, *padded[1:]), AIR_HU, np.int16)
    done = 0  # padded slices that ``hu`` has held
    for z in starts:
        kept = done - z
        hu[:kept] = hu[depth - kept :].copy()
        hu[kept:] = AIR_HU
        first, last = (min(max(i - above, 0), shape[0]) for i in (done, z + depth))
        if first < last:
            part = slice(first + above - z, last + above - z)
            hu[part, top : top + shape[1], left : left + shape[2]] = read(first, last)
        done = z + depth
        yield hu
