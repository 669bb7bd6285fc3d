"""Transforms of albumentations on HU: what they expect, and which cannot be used."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt
from albumentations.augmentations.dropout.transforms import BaseDropout
from albumentations.core.composition import BaseCompose

from kitsseg.data.labels import AIR_HU
from kitsseg.system.package_messages import error_line

SIDE = 64  # side of the slice on which each transform is tried
SHAPE = (8, SIDE, SIDE)  # shape of the volume
SEEDS = 5  # trials on a volume, because some transforms change the shape only in some draws
NEAREST = (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT)
AIR = (AIR_HU,) * 4  # OpenCV fills the first channel only with a single number


class InUnitRange(A.ImageOnlyTransform):
    """Apply a transform that changes intensities to float32 in [0, 1] instead of HU.

    albumentations defines brightness, contrast, noise and blur for such images. Only the change is
    applied, so HU outside the range are preserved.
    """

    def __init__(self, transform: A.ImageOnlyTransform, limits_hu: tuple[float, float]) -> None:
        self.transform, self.limits_hu = transform, limits_hu
        super().__init__(p=transform.p)

    def set_random_seed(self, seed: int | None) -> None:
        super().set_random_seed(seed)
        self.transform.set_random_state(self.random_generator, self.py_random)

    def set_random_state(self, *generators: Any) -> None:
        super().set_random_state(*generators)
        self.transform.set_random_state(*generators)

    def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> Any:
        if not self.should_apply(force_apply=force_apply):
            return data
        key, (low, high) = "volume" if "volume" in data else "image", self.limits_hu
        image = data.pop(key)
        unit = np.clip((image.astype(np.float32) - low) / (high - low), 0, 1)
        if key == "volume":  # its slices as channels; many transforms support no other volumes
            unit = np.ascontiguousarray(np.moveaxis(unit, 0, -1))
        changed = self.transform(*args, force_apply=True, **{**data, "image": unit})["image"]
        if changed.dtype != np.float32 or changed.shape != unit.shape:
            raise ValueError("it changes the type or the shape of the image")
        if changed.min() < -0.01 or changed.max() > 1.01:
            raise ValueError("it returns values outside [0, 1]; the network's window normalises")
        change = (changed - unit) * (high - low)
        if key == "volume":
            change = np.moveaxis(change, -1, 0)
        hu = np.rint(image + change).clip(-32768, 32767).astype(np.int16)
        return {**data, key: hu}


def prepare_transforms(transforms: Sequence[Any], limits_hu: tuple[float, float]) -> list[Any]:
    """Return the transforms, also those within ``OneOf`` and the like, adapted to HU and tried once.

    Those that change intensities get `InUnitRange`, in which ``limits_hu`` become 0 and 1. Raises
    `ValueError` if a transform cannot be used; the message names it.
    """
    prepared = []
    for transform in transforms:
        if isinstance(transform, BaseCompose):
            group = copy.copy(transform)  # another augmentation may contain it
            group.transforms = prepare_transforms(transform.transforms, limits_hu)
            prepared.append(group)
            continue
        if getattr(transform, "fill", AIR_HU) not in (AIR_HU, AIR):
            raise ValueError(
                f"{type(transform).__name__}: fill={transform.fill}: the border must be filled with "
                f"air; set fill={AIR_HU}"
            )
        if getattr(transform, "fill_mask", None) not in (None, 0):
            raise ValueError(
                f"{type(transform).__name__}: fill_mask={transform.fill_mask}: the label of the border "
                "must be background; set fill_mask=0"
            )
        if getattr(transform, "mask_interpolation", cv2.INTER_NEAREST) not in NEAREST:
            raise ValueError(
                f"{type(transform).__name__}: mask_interpolation={transform.mask_interpolation}: would "
                "average class ids; set mask_interpolation=0"
            )
        if hasattr(transform, "fill") and not isinstance(
            transform, (BaseDropout, A.MaskDropout, A.Transform3D)
        ):
            transform.fill = AIR
        if type(transform).__module__.startswith("albumentations."):
            transform = _adapt(transform, limits_hu)
        if not isinstance(transform, A.Transform3D):
            _try(transform, "CT slices in HU", partial(_check_slice, transform, 1))
        prepared.append(transform)
    return prepared


def _adapt(transform: Any, limits_hu: tuple[float, float]) -> Any:
    if isinstance(transform, A.ImageOnlyTransform):
        return InUnitRange(transform, limits_hu)
    if isinstance(transform, A.CoarseDropout3D):  # albumentations 2.0.8 fills the mask with ``fill``
        transform._key2func["mask3d"] = transform.apply_to_mask
    elif not isinstance(transform, A.Transform3D):  # slice by slice: faster than slices as channels
        transform._key2func["volume"] = partial(A.DualTransform.apply_to_images, transform)
        transform._key2func["mask3d"] = partial(A.DualTransform.apply_to_masks, transform)
    return transform


def check_slices(transforms: Sequence[Any], neighbours: int) -> None:
    """Raise `ValueError` if a transform cannot be applied to slices with neighbours as channels."""
    for transform in _leaves(transforms):
        if isinstance(transform, A.Transform3D):
            _try(transform, "slices", partial(_check_slice, transform, 1))
        elif neighbours:  # three channels would be treated as RGB
            _try(transform, "slices with neighbours", partial(_check_slice, transform, 5))


def check_volumes(transforms: Sequence[Any], shape: Sequence[int]) -> None:
    """Raise `ValueError` if a transform cannot be applied to patches ``[D, H, W]`` of this shape."""
    for transform in _leaves(transforms):
        for seed in range(SEEDS):
            _try(transform, "volumes", partial(_check_volume, transform, tuple(shape), seed))


def _leaves(transforms: Sequence[Any]) -> Iterator[Any]:
    for transform in transforms:
        if isinstance(transform, BaseCompose):
            yield from _leaves(transform.transforms)
        else:
            yield transform


def _try(transform: Any, what: str, check: Callable[[], None]) -> None:
    p = transform.p
    transform.p = 1.0
    try:
        check()
    except Exception as error:  # transforms raise errors of any class
        text = error_line(error)
        if isinstance(error, KeyError):
            text = f"it needs {text}, which they lack"
        inner = transform.transform if isinstance(transform, InUnitRange) else transform
        name = type(inner).__name__
        raise ValueError(f"{name}: cannot be applied to {what}: {text}; remove it") from error
    finally:
        transform.p = p


def _example(rows: int, columns: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    row, column = np.mgrid[:rows, :columns]
    image = ((row * 7 + column * 5) % 400 - 160).astype(np.int16)
    return image, ((row // 16 + column // 16) % 3).astype(np.uint8)


def _check_slice(transform: Any, channels: int) -> None:
    """Raise `ValueError` unless image and label have one size afterwards, int16 HU and class ids."""
    if isinstance(transform, A.Transform3D):
        raise ValueError("it changes volumes (data.patch)")
    image, label = _example(SIDE, SIDE)
    out = A.Compose([transform], seed=0)(image=image[..., None].repeat(channels, 2), mask=label)
    changed, mask = out["image"], out["mask"]
    if changed.dtype != np.int16 or changed.ndim != 3 or changed.shape[2] != channels:
        raise ValueError(f"it returns {changed.dtype} of shape {changed.shape} for int16 HU")
    if isinstance(transform, A.DualTransform) and (changed != changed[..., :1]).any():
        raise ValueError("it changes neighbouring slices in different ways")
    if mask.shape != changed.shape[:2] or not set(np.unique(mask)) <= {0, 1, 2}:
        raise ValueError("it changes the label in another way than the image")


def _check_volume(transform: Any, shape: tuple[int, ...], seed: int) -> None:
    """Raise `ValueError` unless the shape is preserved and all slices are changed alike.

    The slices of the example are equal, but for a bright corner in the last one. Only noise must differ
    between them.
    """
    image, label = (np.repeat(plane[None], shape[0], 0) for plane in _example(*shape[1:]))
    image[-1, : shape[1] // 4, : shape[2] // 4] = 300
    out = A.Compose([transform], seed=seed)(volume=image, mask3d=label)
    changed, mask = out["volume"], out["mask3d"]
    if changed.shape != shape or mask.shape != shape:
        raise ValueError(f"it changes the shape of the patch from {shape} to {tuple(changed.shape)}")
    if changed.dtype != np.int16 or not set(np.unique(mask)) <= {0, 1, 2}:
        raise ValueError(f"it returns {changed.dtype} for int16 HU, or other class ids")
    if isinstance(transform, A.ImageOnlyTransform):
        flat = A.Compose([transform], seed=seed)(volume=np.full_like(image, 40))["volume"]
        rough = np.diff(flat.astype(float)).std() > 0.7 * flat.std(axis=(1, 2)).max()
        if rough:
            if _distinct(flat) < shape[0]:
                raise ValueError("it adds the same noise to several slices, which NoiseHU does not")
        elif _distinct(changed[:-1]) > 1 or _distinct(changed[:, shape[1] // 2 :]) > 1:
            raise ValueError("it changes the HU of each slice in another way")
    elif not isinstance(transform, A.Transform3D) and (_distinct(changed) > 2 or _distinct(mask) > 1):
        raise ValueError("it moves each slice in another way")


def _distinct(volume: npt.NDArray[Any]) -> int:
    return len({plane.tobytes() for plane in volume})
