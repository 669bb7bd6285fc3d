"""Crop slices to the body, for networks whose output at a pixel depends on nearby pixels only."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from kitsseg.data.bounding_box import plane_box
from kitsseg.data.labels import BACKGROUND
from kitsseg.data.store.grid import DIVISOR, Grid

Crop = tuple[slice, slice]
EMPTY_HU = -500  # a slice or patch without a voxel above it contains only air
MARGIN = 16  # smallest margin around the body in pixels; a smaller one changes more labels


@dataclass(frozen=True)
class View:
    """The part of the stored slices, on ``grid``, that networks of one ``size`` see.

    ``size`` is the side of the stored slices in pixels, None for the native grid. ``crop`` holds their
    visible rows and columns, None for all.
    """

    size: int | None
    grid: Grid
    crop: Crop | None

    def uncrop(self, probabilities: Tensor) -> Tensor:
        """Return probabilities ``[B, C, H, W]`` on the stored grid: background outside the crop."""
        if self.crop is None:
            return probabilities
        rows, columns = self.crop
        whole = probabilities.new_zeros(*probabilities.shape[:2], *self.grid.stored)
        whole[:, BACKGROUND] = 1
        inside = probabilities[..., : rows.stop - rows.start, : columns.stop - columns.start]
        whole[..., rows, columns] = inside
        return whole


def make_views(
    hu: npt.NDArray[np.int16], spacing_mm: Sequence[float], sizes: Iterable[int | None], crop: bool
) -> list[View]:
    """Return what networks of each size see of a volume ``[S, H, W]``.

    With ``crop``, they see the voxels above `EMPTY_HU` and a margin.
    """
    body = plane_box(hu.max(axis=0) > EMPTY_HU) if crop else None
    grids = {size: Grid.at_spacing((hu.shape[1], hu.shape[2]), spacing_mm, size) for size in sizes}
    return [
        View(size, grid, None if body is None else crop_on_stored_grid(body, grid, MARGIN))
        for size, grid in grids.items()
    ]


def crop_on_stored_grid(body: Crop, grid: Grid, margin: int) -> Crop:
    """Return the crop of the stored slice with ``body``, which is on the native grid, and a margin.

    It starts and ends at multiples of `DIVISOR` or at the edge of the slice, so that pooling groups the
    same pixels as in the whole slice.
    """
    crop = []
    for axis in (0, 1):
        scale, offset = grid.scaled[axis] / grid.native[axis], grid.inside[axis].start
        first = math.floor(body[axis].start * scale) + offset - margin
        last = math.ceil(body[axis].stop * scale) + offset + margin
        stop = min(-(-last // DIVISOR) * DIVISOR, grid.stored[axis])
        crop.append(slice(max(first // DIVISOR * DIVISOR, 0), stop))
    return crop[0], crop[1]
