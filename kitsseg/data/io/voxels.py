"""A file's voxels, a piece at a time, as HU or as class ids.

A piece is small enough for a processor's cache, so whatever wider numbers are computed on the way take
no memory, and no time to fetch.
"""

import math
from collections.abc import Sequence

import numpy as np

from kitsseg.data.labels import CLASSES

INT16 = np.iinfo(np.int16)
Scaling = tuple[float, float] | None  # slope and intercept
SHOWN = 5  # strange labels in a message
NO_LABEL = (-100, 255)  # beyond these a number is HU


class ToHu:
    """HU, rounded to integers and kept within int16.

    Attributes:
        low, high: the lowest and highest value of all pieces, before either.
    """

    dtype = np.dtype(np.int16)

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self._work = np.empty(0)

    def __call__(self, piece: np.ndarray, scaling: Scaling, out: np.ndarray) -> None:
        """Convert ``piece`` ``[N]``, which is changed, into ``out`` ``[N]`` int16, which may be it.

        Raises:
            ValueError: a value isn't finite.
        """
        slope, inter = (1.0, 0.0) if scaling is None else scaling
        # By the same arithmetic as any voxel's value; a NaN is lowest and highest at once.
        low, high = sorted(float(end) * slope + inter for end in (piece.min(), piece.max()))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("holds NaN or infinite values; export it again")
        self.low, self.high = min(self.low, low), max(self.high, high)
        fits = INT16.min <= low and high <= INT16.max
        if piece.dtype.kind != "f" and fits and _whole(slope, inter, piece.dtype):
            _add_up(piece, int(slope), int(inter), out)
            return
        values = piece
        if scaling is not None or piece.dtype.kind != "f":
            values = self._room(piece)
            np.multiply(piece, np.float64(slope), out=values)
            np.add(values, np.float64(inter), out=values)
        np.rint(values, out=values)
        if not fits:
            np.clip(values, INT16.min, INT16.max, out=values)
        np.copyto(out, values, casting="unsafe")

    def finish(self) -> None:
        """After the last piece there is nothing left to say."""

    @property
    def range_hu(self) -> tuple[int, int]:
        """The lowest and highest value as they come out."""
        low, high = (int(np.clip(np.rint(end), INT16.min, INT16.max)) for end in (self.low, self.high))
        return low, high

    def _room(self, piece: np.ndarray) -> np.ndarray:
        """For as many float64, or what the piece holds if that is wider; the same memory each time."""
        dtype = np.result_type(piece.dtype, np.float64)
        if len(self._work) < len(piece) or self._work.dtype != dtype:
            self._work = np.empty(len(piece), dtype)
        return self._work[: len(piece)]


class ToClasses:
    """Class ids: ``classes[stored]`` is the one that a stored number means."""

    dtype = np.dtype(np.uint8)

    def __init__(self, classes: Sequence[int]) -> None:
        self.classes = classes
        self._table = np.asarray(classes, np.uint8)
        self._same = list(classes) == list(range(len(classes)))
        self._strange = np.empty(0)

    def __call__(self, piece: np.ndarray, scaling: Scaling, out: np.ndarray) -> None:
        """Convert ``piece`` ``[N]`` into ``out`` ``[N]`` uint8, which may be it.

        Raises:
            ValueError: see `finish`; at once if there is enough to tell.
        """
        values = piece if scaling is None else piece * np.float64(scaling[0]) + scaling[1]
        if (values.dtype == np.uint8 or values.min() >= 0) and values.max() < len(self._table):
            stored = values.astype(np.uint8, copy=False)
            if values.dtype.kind != "f" or (stored == values).all():
                if not self._same:
                    out[...] = self._table[stored]
                elif stored is not out:
                    out[...] = stored
                return
        found = np.unique(values)
        strange = found[~np.isin(found, range(len(self._table)))]
        self._strange = np.unique(np.concatenate([self._strange, strange]))
        if len(self._strange) >= SHOWN:
            self.finish()

    def finish(self) -> None:
        """After the last piece.

        Raises:
            ValueError: there was a number that means nothing.
        """
        if not len(self._strange):
            return
        strange = [int(value) if value.is_integer() else value for value in self._strange.tolist()]
        known = ", ".join(f"{i} {CLASSES[c]}" for i, c in enumerate(self.classes))
        remedy = "relabel it, or export it again"
        if 3 in strange:
            remedy = "3 are cysts in KiTS21 and KiTS23: set data=kits23 or source=kits23"
        if strange[0] < NO_LABEL[0] or strange[-1] > NO_LABEL[1]:
            remedy = "these look like HU: exchange image and label if they are swapped"
        raise ValueError(f"holds labels {strange[:SHOWN]}; it may hold {known}; {remedy}")


def _whole(slope: float, inter: float, dtype: np.dtype) -> bool:
    """Whether float64 holds all that is computed of such integers exactly, if the results are int16."""
    return slope.is_integer() and inter.is_integer() and dtype.itemsize <= 4 and abs(inter) < 2**31


def _add_up(piece: np.ndarray, slope: int, inter: int, out: np.ndarray) -> None:
    """``piece`` * slope + inter of integers, whose results are int16.

    Modulo 2^16, in which they come out right whatever is between: a processor does eight times as many
    of these at once as float64.
    """
    if slope == 1 and inter == 0:
        if piece is not out:
            np.copyto(out, piece, casting="unsafe")
        return
    times, plus = (np.array(n % 2**16, np.uint16).view(np.int16)[()] for n in (slope, inter))
    if slope != 1:
        np.multiply(piece, times, out=out, dtype=np.int16, casting="unsafe")
        piece = out
    np.add(piece, plus, out=out, dtype=np.int16, casting="unsafe")
