"""A volume in, a label volume out, a few slices at a time, on the case's own grid."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from itertools import combinations

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kitsseg.grid import DIVISOR, Grid, neighbourhood
from kitsseg.labels import AIR_HU
from kitsseg.window import Window

# Always the same number, so that figures don't depend on a training option such as the batch size.
SLICES_AT_ONCE = 16


@torch.inference_mode()
def segment(
    net: nn.Module,
    window: Window,
    images: np.ndarray,
    grid: Grid,
    neighbours: int,
    mirror_axes: Sequence[int],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
) -> np.ndarray:
    """Class ids of a case.

    Args:
        net, window: in evaluation mode and on ``device``.
        images: ``[S, h, w]`` int16 HU, stored slices.
        grid: how they lie on the case's own grid.
        neighbours: slices on either side that the network sees.
        mirror_axes: average over the slice and its mirror images along these axes (0 rows,
            1 columns) and their combinations.
        autocast: makes the context of the precision to compute in.

    Returns:
        ``[S, H, W]`` uint8 on the case's own grid.
    """
    out = np.empty((len(images), *grid.native), np.uint8)
    for start in range(0, len(images), SLICES_AT_ONCE):
        z = np.arange(start, min(start + SLICES_AT_ONCE, len(images)))
        chunk = torch.from_numpy(images[neighbourhood(z, len(images), neighbours)])
        with autocast():
            likely = probabilities(net, window(pad(chunk.to(device))), mirror_axes)
        likely = to_native(likely, grid)
        out[start : start + len(chunk)] = likeliest(likely).cpu().numpy()
    return out


def pad(image_hu: Tensor) -> Tensor:
    """``[..., H, W]`` with air below and to the right, up to the next multiples of `DIVISOR`."""
    down, right = (-image_hu.shape[axis] % DIVISOR for axis in (-2, -1))
    return F.pad(image_hu, (0, right, 0, down), value=AIR_HU) if down or right else image_hu


def probabilities(net: nn.Module, image: Tensor, mirror_axes: Sequence[int]) -> Tensor:
    """Softmax ``[B, C, H, W]`` in float32, averaged over ``image`` and its mirror images."""
    flips = [
        [axis + 2 for axis in axes]
        for count in range(len(mirror_axes) + 1)
        for axes in combinations(mirror_axes, count)
    ]
    seen = (net(image.flip(dims)).float().softmax(1).flip(dims) for dims in flips)
    total = reduce(torch.add, seen)  # one at a time, unlike a stack's mean
    return total if len(flips) == 1 else total / len(flips)


def likeliest(likely: Tensor) -> Tensor:
    """``[B, C, ...]`` -> ``[B, ...]`` uint8, the first of the classes with the highest probability."""
    # One pass a class; torch's argmax takes over twenty times as long over so few.
    best, label = likely[:, 0], torch.zeros_like(likely[:, 0], dtype=torch.uint8)
    for c in range(1, likely.shape[1]):
        label.masked_fill_(likely[:, c] > best, c)
        best = torch.maximum(best, likely[:, c])
    return label


def to_native(likely: Tensor, grid: Grid) -> Tensor:
    """Probabilities ``[B, C, h, w]`` of stored, perhaps padded slices -> ``[B, C, H, W]``, native.

    Probabilities are interpolated, not labels: the class of a native pixel is decided on its own.
    """
    inner = likely[..., grid.inside[0], grid.inside[1]]
    if grid.scaled == grid.native:
        return inner
    if inner.device.type != "cpu":
        return F.interpolate(inner, grid.native, mode="bilinear", align_corners=False)
    # On a CPU torch takes ten times as long as OpenCV, and as long as a small network.
    out = torch.empty(*inner.shape[:2], *grid.native)
    planes = zip(inner.flatten(0, 1).numpy(), out.flatten(0, 1).numpy(), strict=True)
    for stored, native in planes:
        cv2.resize(stored, grid.native[::-1], dst=native, interpolation=cv2.INTER_LINEAR)
    return out
