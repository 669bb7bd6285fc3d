"""Class probabilities of a volume, a few slices at a time, and labels on the native grid."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kitsseg.data.labels import AIR_HU, Labels
from kitsseg.data.store.grid import DIVISOR, Grid, neighbourhood
from kitsseg.models.window import Window

# A constant, so that metrics do not depend on training options such as the batch size.
SLICES_PER_BATCH = 16
# Resampling is much faster when its data fits into the processor's cache.
NATIVE_PIXELS_PER_BATCH = 1 << 18
UNCERTAINTY = "uncertainty"


@torch.inference_mode()
def segment_stored(
    net: nn.Module, window: Window, images: npt.NDArray[np.int16], grid: Grid, neighbours: int,
    mirror_axes: Sequence[int], device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
) -> npt.NDArray[np.uint8]:  # fmt: skip
    """Return the class ids of a case, ``[S, H, W]`` on its native grid.

    ``images`` are the stored slices of ``grid`` in HU, ``[S, h, w]``. ``autocast`` returns the context
    manager of the precision. See `kitsseg.inference.checkpoint.Loaded` for network, window and
    neighbours, and `kitsseg.inference.segmenter.Segmenter` for ``mirror_axes``.
    """
    out = np.empty((len(images), *grid.native), np.uint8)
    for start in range(0, len(images), SLICES_PER_BATCH):
        z = np.arange(start, min(start + SLICES_PER_BATCH, len(images)))
        batch = torch.from_numpy(images[neighbourhood(z, len(images), neighbours)])
        with autocast():
            stored = predict_probabilities(net, window(pad(batch.to(device))), mirror_axes)
        inner = stored[..., *grid.inside]
        for part, native in average_on_native_grid([inner], grid.native, 1, NATIVE_PIXELS_PER_BATCH):
            out[start:][part] = argmax(native).cpu().numpy()
    return out


def pad(image_hu: Tensor) -> Tensor:
    """Return ``[..., H, W]`` padded with air below and to the right to multiples of `DIVISOR`."""
    down, right = (-image_hu.shape[axis] % DIVISOR for axis in (-2, -1))
    return F.pad(image_hu, (0, right, 0, down), value=AIR_HU) if down or right else image_hu


def predict_probabilities(net: nn.Module, image: Tensor, mirror_axes: Sequence[int]) -> Tensor:
    """Return softmax ``[B, C, H, W]`` in float32, averaged over ``image`` and its mirror images.

    In 3D, it is ``[B, C, D, H, W]``. ``mirror_axes``: 0 rows, 1 columns, 2 slices.
    """
    dims = [(-2, -1, -3)[axis] for axis in mirror_axes]
    flips = [axes for count in range(len(dims) + 1) for axes in combinations(dims, count)]
    predictions = (net(image.flip(axes)).float().softmax(1).flip(axes) for axes in flips)
    total: Tensor = reduce(torch.add, predictions)  # needs less memory than a stack
    return total if len(flips) == 1 else total / len(flips)


def average_on_native_grid(
    sums: Sequence[Tensor], native: tuple[int, int], networks: int, pixels_per_batch: int
) -> Iterator[tuple[slice, Tensor]]:
    """Yield ranges of the B slices, and averages ``[b, C, H, W]`` of ``networks`` on the native grid.

    ``sums`` holds for each stored grid the sum of the probabilities of its networks, ``[B, C, h, w]``
    without padding, and may be overwritten. Each average is overwritten by the next one. A range has
    up to ``pixels_per_batch`` native pixels, but at least one slice.
    """
    first = sums[0]
    step = max(1, pixels_per_batch // (native[0] * native[1]))
    buffer = None
    if first.device.type == "cpu":  # allocating can take longer than resampling
        buffer = torch.empty(min(step, len(first)), first.shape[1], *native)
    for start in range(0, len(first), step):
        part = slice(start, min(start + step, len(first)))
        total = to_native(first[part], native, None if buffer is None else buffer[: part.stop - start])
        for other in sums[1:]:
            total += to_native(other[part], native)
        yield part, total if networks == 1 else total.div_(networks)


def argmax(probabilities: Tensor) -> Tensor:
    """Return class ids ``[B, ...]`` uint8 of ``[B, C, ...]``; the lowest id wins a tie."""
    # torch.argmax takes over twenty times as long for so few classes.
    best, label = probabilities[:, 0], torch.zeros_like(probabilities[:, 0], dtype=torch.uint8)
    for c in range(1, probabilities.shape[1]):
        # Later ids are larger, so the maximum replaces a masked fill, which is half as fast.
        label = torch.maximum(label, (probabilities[:, c] > best).to(torch.uint8).mul_(c))
        if c + 1 < probabilities.shape[1]:
            best = torch.maximum(best, probabilities[:, c])
    return label


def to_native(probabilities: Tensor, native: tuple[int, int], buffer: Tensor | None = None) -> Tensor:
    """Return probabilities ``[B, C, h, w]`` of stored slices without padding on the native grid.

    They are interpolated bilinearly. The result ``[B, C, H, W]`` may be in ``buffer``, a CPU tensor.
    """
    if probabilities.shape[2:] == native:
        return probabilities
    if probabilities.device.type != "cpu":
        return F.interpolate(probabilities, native, mode="bilinear", align_corners=False)
    # On a CPU, OpenCV is ten times as fast as torch.
    out = torch.empty(*probabilities.shape[:2], *native) if buffer is None else buffer
    for stored, plane in zip(
        probabilities.flatten(0, 1).numpy(), out.flatten(0, 1).numpy(), strict=True
    ):
        cv2.resize(stored, native[::-1], dst=plane, interpolation=cv2.INTER_LINEAR)
    return out


def make_map(probabilities: Tensor, name: str, labels: Labels) -> npt.NDArray[np.uint8]:
    """Return the map ``[B, H, W]`` of probabilities ``[B, C, H, W]``, see `Segmentation.maps`."""
    if name == UNCERTAINTY:
        values = torch.special.entr(probabilities).sum(1) / np.log(len(labels.classes))
    elif name in labels.table_regions:
        values = probabilities[:, list(labels.ids(name))].sum(1)
    else:
        raise ValueError(
            f"maps={name}: must be one of {', '.join((*labels.table_regions, UNCERTAINTY))}"
        )
    return np.asarray((values.clamp(0, 1) * 255).round().to(torch.uint8).cpu())
