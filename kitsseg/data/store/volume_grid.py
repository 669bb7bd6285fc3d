"""Mapping between native volumes and volumes resampled to another spacing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[Any]
Shape = tuple[int, int, int]  # slices, rows, columns
Weights = list[tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]]
# Slices this many times as thick as pixels are wide are not interpolated, but repeated (nnU-Net).
ANISOTROPIC = 3.0
INTERPOLATIONS = ("linear", "cubic")


@dataclass(frozen=True)
class VolumeGrid:
    """Mapping of a native volume to a stored volume of the same extent in mm.

    HU are averaged along an axis with fewer stored voxels, and interpolated along an axis with more:
    linearly, or, if ``cubic``, by the cubic spline of `scipy.ndimage.zoom`. If ``repeat_slices``, slices
    are not interpolated: the nearest one is taken. The shares of classes are interpolated linearly.
    """

    native: Shape
    stored: Shape
    repeat_slices: bool = False
    cubic: bool = False

    @classmethod
    def at_spacing(
        cls, native: Shape, native_mm: Sequence[float], spacing_mm: Sequence[float] | None,
        interpolation: str = "linear",
    ) -> "VolumeGrid":  # fmt: skip
        """Return the grid with the spacing that is nearest to ``spacing_mm``; None: the native one.

        As in nnU-Net, slices are not interpolated if either spacing is anisotropic, that is, if slices
        are more than `ANISOTROPIC` times as thick as pixels are wide.
        """
        if spacing_mm is None:
            return cls(native, native)
        slices, rows, columns = (
            max(1, round(n * old / new))
            for n, old, new in zip(native, native_mm, spacing_mm, strict=True)
        )
        thick = any(mm[0] > ANISOTROPIC * min(mm[1:]) for mm in (native_mm, spacing_mm))
        return cls(native, (slices, rows, columns), thick, interpolation == "cubic")

    @property
    def scaled(self) -> Shape:
        """The stored shape; a stored volume has no padding."""
        return self.stored

    def stored_mm(self, row_mm: float) -> float:
        """Return the height of a stored pixel, given the height ``row_mm`` of a native pixel."""
        return row_mm * self.native[1] / self.stored[1]

    def fit_image(
        self, image: npt.NDArray[np.int16], first: int = 0, last: int | None = None
    ) -> npt.NDArray[np.int16]:
        """Return native HU ``[S, H, W]`` on the stored grid; from slice ``first`` to before ``last``."""
        if self.stored == self.native:
            return image[first:last]
        limits = np.iinfo(image.dtype)  # a spline overshoots
        plane = lru_cache(_CACHED)(lambda z: self._scale(image[z].astype(np.float32), self.cubic))
        slices = self._slices(self.cubic)[first:last]
        out = np.empty((len(slices), *self.stored[1:]), image.dtype)
        for target, (z, weights) in zip(out, slices, strict=True):
            hu = _blend(plane, z, weights).clip(limits.min, limits.max)
            np.rint(hu, out=target, casting="unsafe")
        return out

    def fit_label(self, label: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return native class ids ``[S, H, W]`` on the stored grid: the class with the largest share.

        Ties alternate between the lower and the higher class in a checkerboard pattern, see
        `kitsseg.data.store.grid.Grid`.
        """
        if self.stored == self.native:
            return label
        share = lru_cache(8 * _CACHED)(lambda c, z: self._scale((label[z] == c).astype(np.float32)))
        out = np.zeros(self.stored, label.dtype)
        is_odd = np.add.outer(*map(np.arange, self.stored[1:])) % 2 == 1
        for k, (target, (z, weights)) in enumerate(zip(out, self._slices(), strict=True)):
            classes = np.unique(label[z])
            if classes.any():
                shares = (_blend(partial(share, c), z, weights) for c in classes)
                target[:] = _vote(classes, shares, is_odd if k % 2 == 0 else ~is_odd)
        return out

    def _slices(self, cubic: bool = False) -> Weights:
        """Return for each stored slice the native slices and weights of which it is the sum."""
        return axis_weights(self.native[0], self.stored[0], self.repeat_slices, cubic)

    def _scale(self, plane: Array, cubic: bool = False) -> Array:
        """Return a native slice with the stored number of rows and columns."""
        # One axis at a time, because INTER_AREA does not average if the other axis has more pixels.
        for axis, (old, new) in enumerate(zip(self.native[1:], self.stored[1:], strict=True)):
            if cubic and new > old:
                weights = spline_weights(old, new)
                plane = weights @ plane if axis == 0 else plane @ weights.T
            elif new != old:
                size = (plane.shape[1], new) if axis == 0 else (new, plane.shape[0])
                area = cv2.INTER_AREA if new < old else cv2.INTER_LINEAR
                plane = cv2.resize(plane, size, interpolation=area)
        return plane


_CACHED = 64  # scaled native slices in memory; one stored slice is computed from at most this many
_LEAST = 1e-5  # weights of a spline below this are left out, because they decay over all voxels


@lru_cache(8)
def spline_weights(native: int, stored: int) -> npt.NDArray[np.float32]:
    """Return the weights ``[stored, native]`` of cubic spline interpolation along an axis."""
    ratio, options = (stored / native, 1), {"mode": "nearest", "grid_mode": True}
    weights = ndimage.zoom(np.eye(native), ratio, order=3, **options).astype(np.float32)
    return np.where(np.abs(weights) < _LEAST, 0, weights)


def axis_weights(native: int, stored: int, nearest: bool = False, cubic: bool = False) -> Weights:
    """Return for each of ``stored`` voxels along an axis the native indices and their weights.

    The voxels of both grids divide the same length, so the centre of stored voxel i is at the native
    coordinate ``(i + 0.5) * native / stored - 0.5``.
    """
    ratio, out = native / stored, []
    for i in range(stored):
        low, high = i * ratio, (i + 1) * ratio
        if nearest:
            index = np.array([min(native - 1, int((low + high) / 2))])
            weights = np.ones(1)
        elif stored < native:  # the average over the stored voxel
            index = np.arange(int(low), min(native, int(np.ceil(high - 1e-9))))
            weights = np.minimum(index + 1, high) - np.maximum(index, low)
        elif cubic:
            index, weights = np.arange(native), spline_weights(native, stored)[i]
        else:
            at = np.clip((low + high) / 2 - 0.5, 0, native - 1)
            first = min(int(at), max(0, native - 2))
            index = np.array([first, first + 1])[:native]
            weights = np.array([1 - (at - first), at - first])[:native]
        used = weights != 0
        weights = weights[used] / weights[used].sum()
        out.append((index[used], weights.astype(np.float32)))
    return out


def _blend(plane: Callable[[int], Array], z: Array, weights: Array) -> Array:
    if len(z) == 1:
        return plane(int(z[0]))
    total: Array = sum(plane(int(n)) * weight for n, weight in zip(z, weights, strict=True))
    return total


def _vote(classes: Array, shares: Iterator[Array], is_odd: npt.NDArray[np.bool_]) -> Array:
    """Return the class with the largest share per pixel; ties as in `VolumeGrid.fit_label`."""
    largest = next(shares)
    winner = np.full(largest.shape, classes[0], classes.dtype)
    for c, share in zip(classes[1:], shares, strict=True):
        tie = np.isclose(share, largest, rtol=0, atol=1e-6)
        winner[((share > largest) & ~tie) | (tie & is_odd & (share > 0))] = c
        largest = np.maximum(largest, share)
    return winner
