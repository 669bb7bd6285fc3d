"""Between a case's own in-plane grid and the square on which it is stored and computed."""

from dataclasses import dataclass

import cv2
import numpy as np

from kitsseg.data.labels import AIR_HU, CLASSES

# Every shipped network takes sides that are multiples of this.
DIVISOR = 32


@dataclass(frozen=True)
class Grid:
    """How a slice of ``native`` (H, W) pixels lies in a stored one.

    The slice is scaled with its aspect kept until its longer side has ``size`` pixels and centred in
    a ``size`` x ``size`` square; the rest is air. ``size=None`` stores slices as they are.

    ``aspect`` is the height of a native pixel over its width. Where that isn't 1, as when a sagittal
    volume is turned, scaling makes the pixels square, since networks know bodies by their shape.
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

    @property
    def inside(self) -> tuple[slice, slice]:
        """Where in the stored slice the scaled one lies."""
        rows, cols = (
            ((outer - inner) // 2, inner) for outer, inner in zip(self.stored, self.scaled, strict=True)
        )
        return slice(rows[0], sum(rows)), slice(cols[0], sum(cols))

    def fit_image(self, image: np.ndarray) -> np.ndarray:
        """``[S, H, W]`` int16 HU on the native grid -> the stored grid, averaged over areas."""
        if self.scaled == self.stored == self.native:
            return image
        out = np.full((len(image), *self.stored), AIR_HU, np.int16)
        rows, cols = self.inside
        for stored, native in zip(out, image, strict=True):
            stored[rows, cols] = self._scale(native, self.scaled)
        return out

    def fit_label(self, label: np.ndarray) -> np.ndarray:
        """``[S, H, W]`` class ids -> the stored grid: the class with the largest share of a pixel."""
        if self.scaled == self.stored == self.native:
            return label
        out = np.zeros((len(label), *self.stored), np.uint8)
        rows, cols = self.inside
        for stored, native in zip(out, label, strict=True):
            if native.any():
                self._vote(native, stored[rows, cols])
        return out

    def _vote(self, native: np.ndarray, scaled: np.ndarray) -> None:
        """Fill ``scaled``, all background: on equal shares the lower class wins."""
        across = self.native[0] // self.scaled[0]
        if across > 1 and self.native == (across * self.scaled[0], across * self.scaled[1]):
            # Every pixel is the mean of a block of its own: blocks without a label need no vote.
            rows, cols = (_blocks(native.max(axis=axis), across) for axis in (1, 0))
            native = native[
                rows.start * across : rows.stop * across, cols.start * across : cols.stop * across
            ]
            scaled = scaled[rows, cols]
        size = scaled.shape
        most = self._scale((native == 0).astype(np.float32), size)
        for c in range(1, len(CLASSES)):
            mask = native == c
            if mask.any():
                share = self._scale(mask.astype(np.float32), size)
                more = share > most
                scaled[more] = c
                most = np.maximum(most, share, out=most)

    def _scale(self, plane: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
        """``[H, W]``, a slice or a part of it, with ``size`` (H, W) pixels."""
        if self.scaled == self.native:
            return plane
        shrinks = any(scaled < native for scaled, native in zip(self.scaled, self.native, strict=True))
        return cv2.resize(
            plane,
            size[::-1],
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )


def _blocks(holds: np.ndarray, across: int) -> slice:
    """The blocks of ``across`` pixels that hold anything, first to last."""
    (where,) = np.nonzero(holds)
    return slice(int(where[0]) // across, int(where[-1]) // across + 1)


def neighbourhood(z: np.ndarray, slices: int, neighbours: int) -> np.ndarray:
    """The slices that a network sees for slices ``z`` ``[B]``: numbers ``[B, 2 neighbours + 1]``.

    The slice itself is in the middle; beyond the volume's ends the last slice is repeated.
    """
    around = np.arange(-neighbours, neighbours + 1)
    return np.clip(np.asarray(z)[:, None] + around, 0, slices - 1)
