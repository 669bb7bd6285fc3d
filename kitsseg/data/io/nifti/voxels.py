"""Conversion of stored voxels to HU or class ids, one piece at a time."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import CLASSES

INT16 = np.iinfo(np.int16)
Scaling = tuple[float, float] | None  # slope and intercept
MAX_SHOWN = 5  # invalid labels listed in an error message
LABEL_TOLERANCE = 1e-3  # distance of a stored value from the integer that it stands for
LABEL_LIMITS = (-100, 255)  # values outside are probably HU


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
    """Convert labels to class ids: ``classes[stored]`` is the class id of a stored value."""

    dtype: np.dtype[Any] = np.dtype(np.uint8)

    def __init__(self, classes: Sequence[int]) -> None:
        self.classes, self._table = classes, np.asarray(classes, np.uint8)
        self._is_identity = list(classes) == list(range(len(classes)))
        self._invalid = np.empty(0)

    def __call__(self, piece: npt.NDArray[Any], scaling: Scaling, out: npt.NDArray[np.uint8]) -> None:
        """Convert ``piece`` into ``out``, which has its shape and may be ``piece`` itself.

        Raises `ValueError` at `MAX_SHOWN` invalid values; `finish` reports fewer.
        """
        values = piece if scaling is None else piece * np.float64(scaling[0]) + scaling[1]
        if values.dtype.kind == "f":  # nibabel scales float labels: 1 becomes 1.0000153
            nearest = np.rint(values)
            values = np.where(np.abs(values - nearest) <= LABEL_TOLERANCE, nearest, values)
        if (values.dtype == np.uint8 or values.min() >= 0) and values.max() < len(self._table):
            stored = values.astype(np.uint8, copy=False)
            if values.dtype.kind != "f" or (stored == values).all():
                if not (self._is_identity and stored is out):
                    out[...] = stored if self._is_identity else self._table[stored]
                return
        invalid = np.setdiff1d(values, range(len(self._table)))
        self._invalid = np.union1d(self._invalid, invalid)
        if len(self._invalid) >= MAX_SHOWN:
            self.finish()

    def finish(self) -> None:
        """Raise `ValueError` if any piece contained a value that is not in ``classes``."""
        if not len(self._invalid):
            return
        invalid = [int(value) if value.is_integer() else value for value in self._invalid.tolist()]
        known = ", ".join(f"{i} {CLASSES[c]}" for i, c in enumerate(self.classes))
        remedy = "relabel it, or export it again"
        if 3 in invalid:
            remedy = "3 are cysts in KiTS21 and KiTS23: set data=kits23 or source=kits23"
        if invalid[0] < LABEL_LIMITS[0] or invalid[-1] > LABEL_LIMITS[1]:
            remedy = "these look like HU: exchange image and label if they are swapped"
        raise ValueError(f"contains labels {invalid[:MAX_SHOWN]}; allowed are {known}; {remedy}")
