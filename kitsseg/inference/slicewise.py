"""A volume in, a label volume out, a few slices at a time, on the case's own grid."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from itertools import combinations

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kitsseg.data.labels import AIR_HU
from kitsseg.data.store.grid import DIVISOR, Grid, neighbourhood
from kitsseg.models.window import Window

# Always the same number, so that figures don't depend on a training option such as the batch size.
SLICES_AT_ONCE = 16
# On the way back to the native grid: what fits into a processor's cache is worked on much faster.
NATIVE_PIXELS_AT_ONCE = 1 << 18


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
        for part, native in natively([(likely, grid)], 1, NATIVE_PIXELS_AT_ONCE):
            out[start:][part] = likeliest(native).cpu().numpy()
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


def natively(
    sums: Sequence[tuple[Tensor, Grid]], members: int, pixels_at_once: int
) -> Iterator[tuple[slice, Tensor]]:
    """Average probabilities on the native grid, a few slices at a time.

    Args:
        sums: for each stored grid, probabilities ``[B, C, h, w]`` added up over its networks; used up.
        members: how many networks these are in all.
        pixels_at_once: on the native grid; at least one slice is taken.

    Yields:
        Which of the B slices, and their averages ``[b, C, H, W]``, which the next ones overwrite.
    """
    likely, grid = sums[0]
    step = max(1, pixels_at_once // (grid.native[0] * grid.native[1]))
    room = None
    if likely.device.type == "cpu":  # where fresh memory can take longer than what is done in it
        room = torch.empty(min(step, len(likely)), likely.shape[1], *grid.native)
    for first in range(0, len(likely), step):
        part = slice(first, min(first + step, len(likely)))
        total = to_native(likely[part], grid, None if room is None else room[: part.stop - first])
        for others, other_grid in sums[1:]:
            total += to_native(others[part], other_grid)
        yield part, total if members == 1 else total.div_(members)


def likeliest(likely: Tensor) -> Tensor:
    """``[B, C, ...]`` -> ``[B, ...]`` uint8, the first of the classes with the highest probability."""
    # One pass a class; torch's argmax takes over twenty times as long over so few.
    best, label = likely[:, 0], torch.zeros_like(likely[:, 0], dtype=torch.uint8)
    for c in range(1, likely.shape[1]):
        # The larger of both ids, since later ones are larger: twice as fast as filling by a mask.
        label = torch.maximum(label, (likely[:, c] > best).to(torch.uint8).mul_(c))
        if c + 1 < likely.shape[1]:
            best = torch.maximum(best, likely[:, c])
    return label


def to_native(likely: Tensor, grid: Grid, room: Tensor | None = None) -> Tensor:
    """Probabilities ``[B, C, h, w]`` of stored, perhaps padded slices -> ``[B, C, H, W]``, native.

    Probabilities are interpolated, not labels: the class of a native pixel is decided on its own.

    Args:
        room: a tensor of that shape on the CPU, which may be written to.
    """
    inner = likely[..., grid.inside[0], grid.inside[1]]
    if grid.scaled == grid.native:
        return inner
    if inner.device.type != "cpu":
        return F.interpolate(inner, grid.native, mode="bilinear", align_corners=False)
    # On a CPU torch takes ten times as long as OpenCV, and as long as a small network.
    out = torch.empty(*inner.shape[:2], *grid.native) if room is None else room
    planes = zip(inner.flatten(0, 1).numpy(), out.flatten(0, 1).numpy(), strict=True)
    for stored, native in planes:
        cv2.resize(stored, grid.native[::-1], dst=native, interpolation=cv2.INTER_LINEAR)
    return out
