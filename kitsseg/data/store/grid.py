"""Mapping between native slices and stored slices."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import AIR_HU, CLASSES

# Height and width of a network's input must be multiples of this.
DIVISOR = 32


@dataclass(frozen=True)
class Grid:
    """Mapping of a native slice to a stored slice.

    A slice is scaled until its longer side has ``size`` pixels, with its aspect ratio kept, and centred
    in a ``size`` x ``size`` square that is padded with air.

    Attributes:
        native: (H, W) of the native slice.
        size: side of the stored square; None keeps the native size.
        aspect: height of a native pixel divided by its width. Scaling makes pixels square.
    """

    native: tuple[int, int]
    size: int | None
    aspect: float = 1.0

    @property
    def scaled(self) -> tuple[int, int]:
        """(H, W) of the slice after scaling, before padding."""
        if self.size is None and self.aspect == 1:
            return self.native
        square = (self.native[0] * max(1, self.aspect), self.native[1] * max(1, 1 / self.aspect))
        longest = max(square)
        size = longest if self.size is None else self.size
        height, width = (max(1, round(n * size / longest)) for n in square)
        return height, width

    @property
    def stored(self) -> tuple[int, int]:
        """(H, W) of the stored slice."""
        return self.scaled if self.size is None else (self.size, self.size)

    def stored_mm(self, row_mm: float) -> float:
        """Return the height of a stored pixel, given that of a native pixel."""
        return row_mm * self.native[0] / self.scaled[0]

    @property
    def inside(self) -> tuple[slice, slice]:
        """Position of the scaled slice in the stored slice."""
        rows, cols = (
            ((outer - inner) // 2, inner) for outer, inner in zip(self.stored, self.scaled, strict=True)
        )
        return slice(rows[0], sum(rows)), slice(cols[0], sum(cols))

    def fit_image(self, image: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """Return native HU ``[S, H, W]`` on the stored grid, averaged over areas."""
        if self.scaled == self.stored == self.native:
            return image
        out = np.full((len(image), *self.stored), AIR_HU, np.int16)
        rows, cols = self.inside
        for stored, native in zip(out, image, strict=True):
            stored[rows, cols] = self._scale(native)
        return out

    def fit_label(self, label: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return native class ids ``[S, H, W]`` on the stored grid: the class with the largest area."""
        if self.scaled == self.stored == self.native:
            return label
        out = np.zeros((len(label), *self.stored), np.uint8)
        rows, cols = self.inside
        for stored, native in zip(out, label, strict=True):
            if native.any():
                self._vote(native, stored[rows, cols])
        return out

    def _vote(self, native: npt.NDArray[np.uint8], scaled: npt.NDArray[np.uint8]) -> None:
        """Fill ``scaled``, which must be background; the lower class wins on equal areas."""
        largest = self._scale((native == 0).astype(np.float32))
        for c in range(1, len(CLASSES)):
            mask = native == c
            if mask.any():
                share = self._scale(mask.astype(np.float32))
                scaled[share > largest] = c
                largest = np.maximum(largest, share)

    def _scale(self, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return ``plane`` ``[H, W]`` at the size `scaled`."""
        if self.scaled == self.native:
            return plane
        shrinks = any(scaled < native for scaled, native in zip(self.scaled, self.native, strict=True))
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(plane, self.scaled[::-1], interpolation=interpolation)


def neighbourhood(z: npt.NDArray[np.int64], slices: int, neighbours: int) -> npt.NDArray[np.int64]:
    """Return the slice indices that a network sees, ``[B, 2 neighbours + 1]``.

    Args:
        z: ``[B]``, indices of the centre slices.
        slices: number of slices of the volume; its first and last slice are repeated beyond the ends.
        neighbours: number of slices on either side.
    """
    offsets = np.arange(-neighbours, neighbours + 1)
    return np.asarray(np.clip(np.asarray(z)[:, None] + offsets, 0, slices - 1))
