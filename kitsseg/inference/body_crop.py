"""The part of a volume's slices in which there is a body, for networks that needn't see more."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from kitsseg.data.labels import BACKGROUND
from kitsseg.data.store.grid import DIVISOR, Grid

Part = tuple[slice, slice]


@dataclass(frozen=True)
class View:
    """What networks of one ``size`` see of a volume's slices: all of the stored grid or a part."""

    size: int | None
    grid: Grid
    part: Part | None

    def part_of(self, stored: np.ndarray) -> np.ndarray:
        """``[S, h, w]`` on the stored grid, as far as the networks see it."""
        return stored if self.part is None else stored[:, self.part[0], self.part[1]]

    def whole_of(self, likely: Tensor) -> Tensor:
        """Probabilities of what the networks see -> of the stored grid, background round it."""
        if self.part is None:
            return likely
        rows, columns = self.part
        whole = likely.new_zeros(*likely.shape[:2], *self.grid.stored)
        whole[:, BACKGROUND] = 1
        inside = likely[..., : rows.stop - rows.start, : columns.stop - columns.start]
        whole[..., rows, columns] = inside
        return whole


def find_body(hu: np.ndarray, above_hu: int) -> Part | None:
    """Rows and columns that hold all voxels of ``[S, H, W]`` above ``above_hu``; None without any."""
    plane = hu.max(axis=0) > above_hu
    if not plane.any():
        return None
    rows, columns = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def on_stored(body: Part, grid: Grid, margin: int) -> Part:
    """Where a native ``body`` lies on the stored grid, with ``margin`` of its pixels round it.

    It begins and ends at multiples of `DIVISOR`, as far as the stored slice reaches: elsewhere a network
    that halves its image would pair other pixels than in the whole slice.
    """
    rows, columns = (
        _side(
            body[axis], grid.scaled[axis] / grid.native[axis], grid.inside[axis].start,
            grid.stored[axis], margin,
        )
        for axis in (0, 1)
    )  # fmt: skip
    return rows, columns


def _side(body: slice, scale: float, shift: int, stored: int, margin: int) -> slice:
    first = math.floor(body.start * scale) + shift - margin
    last = math.ceil(body.stop * scale) + shift + margin
    return slice(max(first // DIVISOR * DIVISOR, 0), min(-(-last // DIVISOR) * DIVISOR, stored))
