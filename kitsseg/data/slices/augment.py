"""Augment images in HU on the fly with albumentations."""

from collections.abc import Sequence
from typing import Any

import albumentations as A
import numpy as np
import numpy.typing as npt

from kitsseg.data.slices.hu_transforms import SHAPE, check_slices, check_volumes, prepare_transforms


class Augmentation:
    """Apply albumentations transforms to an image in HU and its mask.

    Each sample has a generator seeded with (seed, epoch, position in the epoch), so results do not
    depend on the number of loader workers. albumentations 2.0.8 would use the same one in all workers.

    Args:
        transforms: albumentations transforms. Those that fill a border must fill it with air. Those of
            the library that change intensities get float32 in [0, 1] for the HU between the limits.
        low_hu: the lower limit.
        high_hu: the upper limit.

    Raises:
        ValueError: a transform fills its border with another value, or cannot be applied to HU.
    """

    def __init__(
        self, transforms: Sequence[A.BasicTransform], low_hu: float = -200.0, high_hu: float = 400.0
    ) -> None:
        if not low_hu < high_hu:
            raise ValueError(f"low_hu={low_hu}, high_hu={high_hu}: must be in ascending order")
        self.chain = A.Compose(prepare_transforms(transforms, (float(low_hu), float(high_hu))))

    def __call__(
        self, image: npt.NDArray[Any], label: npt.NDArray[Any], seed: Sequence[int]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the augmented image ``[K, H, W]`` int16 HU and label ``[H, W]`` uint8 class ids.

        In 3D, the image is ``[1, D, H, W]`` or ``[D, H, W]`` and the label ``[D, H, W]``. All slices are
        changed alike, except by noise. ``seed`` holds the integers that seed this sample.
        """
        if not self.chain.transforms:
            return image, label
        # SeedSequence mixes them, so that neighbouring positions get unrelated generators.
        self.chain.set_random_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        if label.ndim == 3:
            out = self.chain(volume=image.reshape(label.shape), mask3d=label)
            volume = out["volume"].reshape(*image.shape[:-3], *out["volume"].shape)
            return np.ascontiguousarray(volume), np.ascontiguousarray(out["mask3d"])
        out = self.chain(image=np.ascontiguousarray(image.transpose(1, 2, 0)), mask=label)
        return np.ascontiguousarray(out["image"].transpose(2, 0, 1)), np.ascontiguousarray(out["mask"])

    def check_slices(self, neighbours: int = 0) -> None:
        """Raise `ValueError` if a transform cannot be applied to slices with so many neighbours."""
        check_slices(self.chain.transforms, neighbours)

    def check_volumes(self, shape: Sequence[int] = SHAPE) -> None:
        """Raise `ValueError` if a transform cannot be applied to patches ``[D, H, W]`` of this shape."""
        check_volumes(self.chain.transforms, shape)


def _ordered(name: str, limits: Sequence[float]) -> tuple[float, float]:
    low, high = limits
    if not low <= high:
        raise ValueError(f"{name}={list(limits)}: must be in ascending order")
    return float(low), float(high)


class ContrastHU(A.ImageOnlyTransform):
    """Change contrast and brightness as scanners and contrast phases do.

    The result is ``pivot + gain * (HU - pivot) + offset``.

    Args:
        gain: limits of the factor.
        offset_hu: limits of the shift.
        pivot_hu: value that the gain does not change; 101 HU is the mean of kidney and tumour.
        p: probability of applying the transform.
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

    def apply(
        self, img: npt.NDArray[Any], gain: float, offset_hu: float, **params: Any
    ) -> npt.NDArray[Any]:
        changed = img.astype(np.float32) * gain + (self.pivot_hu * (1 - gain) + offset_hu)
        return _like(changed, img)


class NoiseHU(A.ImageOnlyTransform):
    """Add Gaussian noise.

    Args:
        sd_hu: limits of its standard deviation.
        p: probability of applying the transform.
    """

    def __init__(self, sd_hu: Sequence[float] = (0.0, 10.0), p: float = 0.5) -> None:
        super().__init__(p=p)
        self.sd_hu = _ordered("sd_hu", sd_hu)
        if self.sd_hu[0] < 0:
            raise ValueError(f"sd_hu={list(sd_hu)}: must not be negative")

    def get_params(self) -> dict[str, Any]:
        return {"sd_hu": self.py_random.uniform(*self.sd_hu)}

    def apply(self, img: npt.NDArray[Any], sd_hu: float, **params: Any) -> npt.NDArray[Any]:
        noise = self.random_generator.standard_normal(img.shape, dtype=np.float32)
        return _like(img + sd_hu * noise, img)


def _like(values: npt.NDArray[Any], image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    limits = np.iinfo(image.dtype)
    rounded: npt.NDArray[Any] = np.rint(values).clip(limits.min, limits.max).astype(image.dtype)
    return rounded


class FlipSlices(A.DualTransform):
    """Reverse the order of slices: of a volume, or of a slice and its neighbours.

    Args:
        p: probability of applying the transform.
    """

    def apply(self, img: npt.NDArray[Any], **params: Any) -> npt.NDArray[Any]:
        return img[..., ::-1]

    def apply_to_mask(self, mask: npt.NDArray[Any], **params: Any) -> npt.NDArray[Any]:
        return mask

    def apply_to_volume(self, volume: npt.NDArray[Any], **params: Any) -> npt.NDArray[Any]:
        return volume[::-1]

    def apply_to_mask3d(self, mask3d: npt.NDArray[Any], **params: Any) -> npt.NDArray[Any]:
        return mask3d[::-1]
