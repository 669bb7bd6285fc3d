"""Conversion of stored voxels to HU or class ids, one piece at a time."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import KITS19

INT16 = np.iinfo(np.int16)
Scaling = tuple[float, float] | None  # slope and intercept
MAX_SHOWN = 5  # invalid labels listed in an error message
LABEL_TOLERANCE = 1e-3  # distance of a stored value from the integer that it stands for
LABEL_LIMITS = (-100, 255)  # values outside are probably HU
UNKNOWN = 255  # no class id


class ToHu:
    """Convert voxels to HU plus ``offset_hu``, rounded to integers and clipped to int16.

    ``low`` and ``high`` are the lowest and highest value so far, before rounding and clipping.
    """

    dtype: np.dtype[Any] = np.dtype(np.int16)

    def __init__(self, offset_hu: int = 0) -> None:
        self.offset_hu, self.low, self.high = offset_hu, np.inf, -np.inf

    def __call__(self, piece: npt.NDArray[Any], scaling: Scaling, out: npt.NDArray[np.int16]) -> None:
        """Convert stored voxels into ``out``, which has their shape and may be ``piece`` itself.

        May overwrite ``piece``. Raises `ValueError` if a value is not finite.
        """
        slope, inter = (1.0, 0.0) if scaling is None else scaling
        inter += self.offset_hu
        # NaN propagates through min and max.
        low, high = sorted(float(end) * slope + inter for end in (piece.min(), piece.max()))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("contains NaN or infinite values; export it again")
        self.low, self.high = min(self.low, low), max(self.high, high)
        fits = INT16.min <= low and high <= INT16.max
        if (slope, inter) != (1, 0) or not (fits or piece.dtype.kind == "f"):
            piece = piece * np.float64(slope) + np.float64(inter)
        if piece.dtype.kind == "f":
            np.rint(piece, out=piece)
        if not fits:
            np.clip(piece, INT16.min, INT16.max, out=piece)
        if piece is not out:
            np.copyto(out, piece, casting="unsafe")


class ToClasses:
    """Convert label values to class ids: ``stored`` is the class id of each value."""

    dtype: np.dtype[Any] = np.dtype(np.uint8)

    def __init__(self, stored: Mapping[int, int]) -> None:
        self.stored, self._size = stored, max(stored) + 1
        self._table = np.full(max(self._size, 256), UNKNOWN, np.uint8)
        self._table[list(stored)] = list(stored.values())
        self._is_identity = stored == {i: i for i in range(self._size)}
        self._values, self._voxels = np.empty(0), np.empty(0, np.int64)  # unknown ones

    def __call__(self, piece: npt.NDArray[Any], scaling: Scaling, out: npt.NDArray[np.uint8]) -> None:
        """Convert ``piece`` into ``out``, which has its shape and may be ``piece`` itself.

        `finish` reports values that are not in ``stored``.
        """
        values = piece if scaling is None else piece * np.float64(scaling[0]) + scaling[1]
        if values.dtype.kind == "f":  # nibabel scales float labels: 1 becomes 1.0000153
            nearest = np.rint(values)
            values = np.where(np.abs(values - nearest) <= LABEL_TOLERANCE, nearest, values)
        if (values.dtype == np.uint8 or values.min() >= 0) and values.max() < self._size:
            index = values.astype(np.uint8 if self._size <= 256 else np.int64, copy=False)
            if values.dtype.kind != "f" or (index == values).all():
                classes = index if self._is_identity else self._table[index]
                if not (classes == UNKNOWN).any():
                    out[...] = classes
                    return
        self._note_unknown(values)

    def _note_unknown(self, values: npt.NDArray[Any]) -> None:
        """Count the voxels per unknown value; only the lowest values and the highest are stored."""
        found, voxels = np.unique(values[~np.isin(values, list(self.stored))], return_counts=True)
        merged, place = np.unique(np.concatenate([self._values, found]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([self._voxels, voxels])).astype(np.int64)
        kept = slice(None) if len(merged) <= MAX_SHOWN else [*range(MAX_SHOWN), -1]
        self._values, self._voxels = merged[kept], counts[kept]

    def finish(self) -> None:
        """Raise `ValueError` if any piece contained a value that is not in ``stored``."""
        if not len(self._values):
            return
        unknown = [int(v) if v.is_integer() else v for v in self._values.tolist()]
        voxels = ", ".join(map(str, self._voxels[:MAX_SHOWN]))
        remedy = "relabel it, or name the values in the labels"
        if 3 in unknown and self.stored == KITS19.stored:
            remedy = (
                "3 are cysts in KiTS21 and KiTS23: set labels=kits23, or in their own layout "
                "data=kits23 or source=kits23"
            )
        if unknown[0] < LABEL_LIMITS[0] or unknown[-1] > max(LABEL_LIMITS[1], self._size):
            remedy = "these look like HU: exchange image and label if they are swapped"
        allowed = ", ".join(map(str, sorted(self.stored)))
        raise ValueError(
            f"contains labels {unknown[:MAX_SHOWN]} in {voxels} voxels; allowed are {allowed}; {remedy}"
        )
