"""Patches round kidney and tumour, turned and scaled in one interpolation."""

import math
from collections.abc import Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np

from kitsseg.data.labels import AIR_HU, BACKGROUND, TUMOUR

SIDE_STEP = 32  # sides are multiples of it, so that patches of slices of one size need no filling


class RandomPatch(A.DualTransform):
    """A square of ``share`` of the slice's longer side, where there is something to learn.

    Most of a slice is far from any kidney: patches give more steps in the same time, and
    oversampling the foreground is the field's remedy for rare classes (nnU-Net takes a third of its
    patches there). The centre is a random pixel of the tumour, else of kidney or tumour, else of the
    body, moved by up to a quarter of the side. A convolutional network trained so segments whole
    slices. Where the square leaves the slice there is air.

    Args:
        share: of the slice's longer side, in (0, 1]; the side is a multiple of 32 pixels.
        tumour, kidney: how often the centre is a pixel of the tumour, and of either, where there is one.
        rotate: limits of the angle in degrees.
        scale: limits of the factor by which the content grows.

    Raises:
        ValueError: a value out of its range.
    """

    def __init__(
        self,
        share: float = 0.5,
        tumour: float = 0.34,
        kidney: float = 0.33,
        rotate: Sequence[float] = (0.0, 0.0),
        scale: Sequence[float] = (1.0, 1.0),
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        if not 0 < share <= 1:
            raise ValueError(f"share={share} must lie in (0, 1]: of the slice's longer side")
        if min(tumour, kidney) < 0 or tumour + kidney > 1:
            raise ValueError(
                f"tumour={tumour}, kidney={kidney} must not be negative, nor above 1 together: shares "
                "of the patches"
            )
        if not rotate[0] <= rotate[1]:
            raise ValueError(f"rotate={list(rotate)}: the first must not be above the second")
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale={list(scale)} must be above 0, the first not above the second")
        self.share, self.tumour, self.kidney = share, tumour, kidney
        self.rotate, self.scale = tuple(rotate), tuple(scale)

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        image, mask = data["image"], data["mask"]
        side = max(SIDE_STEP, SIDE_STEP * round(self.share * max(mask.shape) / SIDE_STEP))
        angle = math.radians(self.py_random.uniform(*self.rotate))
        factor = self.py_random.uniform(*self.scale)
        row, column = self._centre(image, mask, side)
        cosine, sine = math.cos(angle) / factor, math.sin(angle) / factor
        middle = side // 2
        # From a pixel of the patch to one of the slice, both as (column, row).
        back = np.array(
            [
                [cosine, -sine, column - (cosine - sine) * middle],
                [sine, cosine, row - (sine + cosine) * middle],
            ]
        )
        return {"side": side, "back": back}

    def _centre(self, image: np.ndarray, mask: np.ndarray, side: int) -> tuple[int, int]:
        drawn = self.py_random.random()
        wanted = []
        if drawn < self.tumour:
            wanted.append(mask == TUMOUR)
        if drawn < self.tumour + self.kidney:
            wanted.append(mask != BACKGROUND)
        wanted.append((image > BODY_HU).any(axis=-1))
        middle = (mask.shape[0] // 2, mask.shape[1] // 2)
        for candidates in wanted:
            if len(found := np.flatnonzero(candidates)):
                middle = divmod(int(found[self.py_random.randrange(len(found))]), mask.shape[1])
                break
        most = side // 4
        return tuple(c + self.py_random.randint(-most, most) for c in middle)

    def apply(self, img: np.ndarray, side: int, back: np.ndarray, **params: Any) -> np.ndarray:
        # A channel at a time: OpenCV's border has four at most.
        return np.stack(
            [_warp(plane, side, back, cv2.INTER_LINEAR, AIR_HU) for plane in np.moveaxis(img, -1, 0)], -1
        )

    def apply_to_mask(self, mask: np.ndarray, side: int, back: np.ndarray, **params: Any) -> np.ndarray:
        return _warp(mask, side, back, cv2.INTER_NEAREST, BACKGROUND)


BODY_HU = -300  # denser than this is body


def _warp(plane: np.ndarray, side: int, back: np.ndarray, interpolation: int, fill: int) -> np.ndarray:
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(np.ascontiguousarray(plane), back, (side, side), flags=flags, borderValue=fill)
