"""Patches around kidney and tumour, rotated and scaled in one interpolation."""

import math
from collections.abc import Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import AIR_HU, BACKGROUND

SIDE_STEP = 32  # the side of a patch is a multiple of it, so that batches need no padding
BODY_HU = -300  # pixels above it belong to the body


class RandomPatch(A.DualTransform):
    """Crop a random square patch, more often around tumour and kidney than elsewhere.

    Steps on patches are faster, and oversampling the foreground is the usual remedy for
    rare classes (nnU-Net centres a third of its patches on it). The centre is a random pixel of the
    target region, of any class, or of the body, shifted by up to a quarter of the side. Pixels outside
    the slice are air. A convolutional network that is trained on patches can segment whole slices.

    Args:
        share: side of the patch as a share of the slice's longer side, in (0, 1]; rounded to a multiple
            of 32 pixels.
        target: share of the patches that are centred on the target region, if the slice has any.
        foreground: share of the patches that are centred on any class but the background.
        rotate: limits of the angle in degrees.
        scale: limits of the magnification.
        p: probability of applying the transform.
        target_classes: class ids of the target region; by default the tumour of KiTS19.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        share: float = 0.5,
        target: float = 0.34,
        foreground: float = 0.33,
        rotate: Sequence[float] = (0.0, 0.0),
        scale: Sequence[float] = (1.0, 1.0),
        p: float = 1.0,
        target_classes: Sequence[int] = (2,),
    ) -> None:
        super().__init__(p=p)
        if not 0 < share <= 1:
            raise ValueError(f"share={share}: must be in (0, 1], as a share of the longer side")
        if min(target, foreground) < 0 or target + foreground > 1:
            raise ValueError(
                f"target={target}, foreground={foreground}: must be at least 0, and their sum at most 1"
            )
        if not rotate[0] <= rotate[1]:
            raise ValueError(f"rotate={list(rotate)}: must be in ascending order")
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale={list(scale)}: must be above 0 and in ascending order")
        self.share, self.target, self.foreground = share, target, foreground
        self.target_classes = list(target_classes)
        self.rotate, self.scale = tuple(rotate), tuple(scale)

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        if "volume" in data:
            raise ValueError("it crops slices, and data.patch is the shape of 3D patches")
        image, mask = data["image"], data["mask"]
        side = max(SIDE_STEP, SIDE_STEP * round(self.share * max(mask.shape) / SIDE_STEP))
        angle = math.radians(self.py_random.uniform(*self.rotate))
        factor = self.py_random.uniform(*self.scale)
        row, column = self._centre(image, mask, side)
        cosine, sine = math.cos(angle) / factor, math.sin(angle) / factor
        middle = side // 2
        # Map a pixel of the patch to a pixel of the slice, both as (column, row).
        to_column = (cosine, -sine, column - (cosine - sine) * middle)
        to_row = (sine, cosine, row - (sine + cosine) * middle)
        return {"side": side, "back": np.array([to_column, to_row])}

    def _centre(self, image: npt.NDArray[Any], mask: npt.NDArray[Any], side: int) -> tuple[int, int]:
        drawn = self.py_random.random()
        wanted: list[npt.NDArray[np.bool_]] = []
        if drawn < self.target:
            wanted.append(np.isin(mask, self.target_classes))
        if drawn < self.target + self.foreground:
            wanted.append(np.asarray(mask != BACKGROUND))
        wanted.append(np.asarray((image > BODY_HU).any(axis=-1)))
        middle = (mask.shape[0] // 2, mask.shape[1] // 2)
        if (candidates := next(filter(np.any, wanted), None)) is not None:
            found = np.flatnonzero(candidates)
            middle = divmod(int(found[self.py_random.randrange(len(found))]), mask.shape[1])
        shift = side // 4
        return tuple(c + self.py_random.randint(-shift, shift) for c in middle)

    def apply(
        self, img: npt.NDArray[Any], side: int, back: npt.NDArray[Any], **params: Any
    ) -> npt.NDArray[Any]:
        # One channel at a time: OpenCV fills the border of at most four.
        return np.stack(
            [_warp(plane, side, back, cv2.INTER_LINEAR, AIR_HU) for plane in np.moveaxis(img, -1, 0)], -1
        )

    def apply_to_mask(
        self, mask: npt.NDArray[Any], side: int, back: npt.NDArray[Any], **params: Any
    ) -> npt.NDArray[Any]:
        return _warp(mask, side, back, cv2.INTER_NEAREST, BACKGROUND)


def _warp(
    plane: npt.NDArray[Any], side: int, back: npt.NDArray[Any], interpolation: int, fill: int
) -> npt.NDArray[Any]:
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(np.ascontiguousarray(plane), back, (side, side), flags=flags, borderValue=fill)
