"""Augmentation on the fly with albumentations, on HU, with a stream of its own for every sample."""

from collections.abc import Sequence
from typing import Any

import albumentations as A
import numpy as np

from kitsseg.data.labels import AIR_HU, BACKGROUND


class Augmentation:
    """A chain of albumentations transforms for an image in HU and its mask.

    Every sample is drawn from a generator seeded with (seed, epoch, position in the epoch), so the
    figures don't depend on the number of loader workers and no two workers share a stream.
    albumentations 2.0.8 by itself gives all workers the same one.

    Args:
        transforms: albumentations transforms; those that fill a border must fill it with air.
    """

    def __init__(self, transforms: Sequence[A.BasicTransform]) -> None:
        for transform in transforms:
            if getattr(transform, "fill", AIR_HU) != AIR_HU:
                raise ValueError(
                    f"{type(transform).__name__}: fill={transform.fill} HU outside the border is not "
                    f"air; set fill: {AIR_HU}"
                )
        self.chain = A.Compose(list(transforms))

    def __call__(
        self, image: np.ndarray, label: np.ndarray, seed: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """``[K, H, W]`` int16 HU and ``[H, W]`` uint8 classes, changed together; types stay."""
        if not self.chain.transforms:
            return image, label
        # Hashed, so that neighbouring epochs and positions don't give related streams.
        self.chain.set_random_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        out = self.chain(image=np.ascontiguousarray(image.transpose(1, 2, 0)), mask=label)
        return np.ascontiguousarray(out["image"].transpose(2, 0, 1)), np.ascontiguousarray(out["mask"])


def _ordered(name: str, limits: Sequence[float]) -> tuple[float, float]:
    low, high = limits
    if not low <= high:
        raise ValueError(f"{name}={list(limits)}: the first must not be above the second")
    return float(low), float(high)


class ContrastHU(A.ImageOnlyTransform):
    """``pivot + gain * (HU - pivot) + offset``: scanners and contrast phases differ like that.

    Args:
        gain: limits of the factor.
        offset_hu: limits of the shift.
        pivot_hu: the value that the gain leaves as it is; 101 is the mean of kidney and tumour.
    """

    def __init__(
        self,
        gain: Sequence[float] = (0.9, 1.1),
        offset_hu: Sequence[float] = (-10.0, 10.0),
        pivot_hu: float = 101.0,
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.gain, self.offset_hu = _ordered("gain", gain), _ordered("offset_hu", offset_hu)
        self.pivot_hu = pivot_hu

    def get_params(self) -> dict[str, Any]:
        return {
            "gain": self.py_random.uniform(*self.gain),
            "offset_hu": self.py_random.uniform(*self.offset_hu),
        }

    def apply(self, img: np.ndarray, gain: float, offset_hu: float, **params: Any) -> np.ndarray:
        changed = img.astype(np.float32) * gain + (self.pivot_hu * (1 - gain) + offset_hu)
        return _like(changed, img)


class NoiseHU(A.ImageOnlyTransform):
    """Gaussian noise, its standard deviation drawn from ``sd_hu``."""

    def __init__(self, sd_hu: Sequence[float] = (0.0, 10.0), p: float = 0.5) -> None:
        super().__init__(p=p)
        self.sd_hu = _ordered("sd_hu", sd_hu)
        if self.sd_hu[0] < 0:
            raise ValueError(f"sd_hu={list(sd_hu)}: a standard deviation can't be negative")

    def get_params(self) -> dict[str, Any]:
        return {"sd_hu": self.py_random.uniform(*self.sd_hu)}

    def apply(self, img: np.ndarray, sd_hu: float, **params: Any) -> np.ndarray:
        noise = self.random_generator.standard_normal(img.shape, dtype=np.float32)
        return _like(img + sd_hu * noise, img)


def _like(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    limits = np.iinfo(image.dtype)
    return np.rint(values).clip(limits.min, limits.max).astype(image.dtype)


class CropToBody(A.DualTransform):
    """A square of ``size`` pixels round the body, which most of a slice isn't.

    The square is centred on the bounding box of all that is denser than ``threshold_hu``, then moved
    by up to ``jitter`` pixels; where it leaves the slice there is air. A convolutional network
    trained on it segments whole slices.
    """

    def __init__(self, size: int, jitter: int = 0, threshold_hu: float = -300.0, p: float = 1.0) -> None:
        super().__init__(p=p)
        if size < 32 or size % 32:
            raise ValueError(f"size={size} must be a multiple of 32, at least 32")
        if jitter < 0:
            raise ValueError(f"jitter={jitter} must not be negative: a number of pixels")
        self.size, self.jitter, self.threshold_hu = size, jitter, threshold_hu

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        body = (data["image"] > self.threshold_hu).any(axis=-1)
        corner = []
        for axis in (0, 1):
            occupied = np.flatnonzero(body.any(axis=1 - axis))
            middle = (occupied[0] + occupied[-1] + 1) // 2 if len(occupied) else body.shape[axis] // 2
            moved = int(middle) + self.py_random.randint(-self.jitter, self.jitter)
            corner.append(moved - self.size // 2)
        return {"corner": corner}

    def apply(self, img: np.ndarray, corner: list[int], **params: Any) -> np.ndarray:
        return self._cut(img, corner, AIR_HU)

    def apply_to_mask(self, mask: np.ndarray, corner: list[int], **params: Any) -> np.ndarray:
        return self._cut(mask, corner, BACKGROUND)

    def _cut(self, plane: np.ndarray, corner: list[int], fill: int) -> np.ndarray:
        out = np.full((self.size, self.size, *plane.shape[2:]), fill, plane.dtype)
        inside, outside = [], []
        for start, length in zip(corner, plane.shape[:2], strict=True):
            low, high = max(0, start), min(length, start + self.size)
            outside.append(slice(low, max(low, high)))
            inside.append(slice(low - start, max(low, high) - start))
        out[tuple(inside)] = plane[tuple(outside)]
        return out
