"""Transforms of albumentations on HU: what they expect, and which cannot be used."""

from collections.abc import Iterator, Sequence
from typing import Any

import albumentations as A
import numpy as np
from albumentations.augmentations.dropout.transforms import BaseDropout
from albumentations.core.composition import BaseCompose

from kitsseg.data.labels import AIR_HU

SIDE = 64  # of the slice on which each transform is tried
AIR = (AIR_HU,) * 4  # OpenCV fills the first channel only with a single number


class InUnitRange:
    """Mixed into transforms that change intensities: they get float32 in [0, 1] instead of HU.

    albumentations defines brightness, contrast, noise and blur for such images. Only the change is
    applied, so HU outside the range are preserved.
    """

    limits_hu: tuple[float, float]

    def __call__(self, *args: Any, **data: Any) -> Any:
        image, (low, high) = data["image"], self.limits_hu
        unit = np.clip((image.astype(np.float32) - low) / (high - low), 0, 1)
        out = super().__call__(*args, **{**data, "image": unit})  # type: ignore[misc]
        changed = out["image"]
        if changed.dtype != np.float32 or changed.shape != unit.shape:
            raise ValueError("it changes the type or the shape of the image")
        if changed.min() < -0.01 or changed.max() > 1.01:
            raise ValueError("it returns values outside [0, 1]; the network's window normalises")
        hu = np.rint(image + (changed - unit) * (high - low))
        return {**out, "image": hu.clip(-32768, 32767).astype(np.int16)}

    def __reduce__(self) -> Any:
        return _restore, (type(self).__mro__[2], self.__dict__.copy())


def _restore(kind: type[Any], state: dict[str, Any]) -> Any:
    transform: Any = kind.__new__(kind)  # type: ignore[call-overload]
    transform.__dict__.update(state)
    return _convert(transform, state["limits_hu"])


def _convert(transform: Any, limits_hu: tuple[float, float]) -> Any:
    kind = type(transform)
    transform.__class__ = type(kind.__name__, (InUnitRange, kind), {"__module__": kind.__module__})
    transform.limits_hu = limits_hu
    return transform


def prepare_transforms(transforms: Sequence[Any], limits_hu: tuple[float, float]) -> None:
    """Adapt the transforms that change intensities to HU, and try each transform once.

    Args:
        transforms: are changed in place; also those within ``OneOf`` and the like.
        limits_hu: what becomes 0 and 1.

    Raises:
        ValueError: a transform cannot be used; the message names it.
    """
    for transform in _leaves(transforms):
        if getattr(transform, "fill", AIR_HU) not in (AIR_HU, AIR):
            raise ValueError(
                f"{type(transform).__name__}: fill={transform.fill}: the border must be filled with "
                f"air; set fill={AIR_HU}"
            )
        if hasattr(transform, "fill") and not isinstance(transform, (BaseDropout, A.MaskDropout)):
            transform.fill = AIR
        own = type(transform).__module__.startswith("albumentations.")
        if own and isinstance(transform, A.ImageOnlyTransform):
            _convert(transform, limits_hu)
        _try(transform)


def check_neighbours(transforms: Sequence[Any]) -> None:
    """Raise `ValueError` if a transform cannot be applied to slices with neighbours as channels."""
    for transform in _leaves(transforms):
        _try(transform, 5)  # three channels would be treated as RGB


def _leaves(transforms: Sequence[Any]) -> Iterator[Any]:
    for transform in transforms:
        if isinstance(transform, BaseCompose):
            yield from _leaves(transform.transforms)
        else:
            yield transform


def _try(transform: Any, channels: int = 1) -> None:
    """Raise `ValueError` unless image and label have one size afterwards, int16 HU and class ids."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = ((rows * 7 + columns * 5) % 400 - 160).astype(np.int16)[..., None].repeat(channels, 2)
    label = ((rows // 16 + columns // 16) % 3).astype(np.uint8)
    name, p = type(transform).__name__, transform.p
    slices = "CT slices in HU" if channels == 1 else "slices with neighbours"
    transform.p = 1.0
    try:
        out = A.Compose([transform], seed=0)(image=image, mask=label)
        changed, mask = out["image"], out["mask"]
        if changed.dtype != np.int16 or changed.ndim != 3 or changed.shape[2] != channels:
            raise ValueError(f"it returns {changed.dtype} of shape {changed.shape} for int16 HU")
        if isinstance(transform, A.DualTransform) and (changed != changed[..., :1]).any():
            raise ValueError("it changes neighbouring slices in different ways")
        if mask.shape != changed.shape[:2] or not set(np.unique(mask)) <= {0, 1, 2}:
            raise ValueError("it changes the label in another way than the image")
    except Exception as error:  # of any transform
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{name}: cannot be applied to {slices}: {text}; remove it") from error
    finally:
        transform.p = p
