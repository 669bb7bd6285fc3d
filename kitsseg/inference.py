"""A volume in, a label volume out, a few slices at a time, on the case's own grid."""

from collections.abc import Callable
from contextlib import AbstractContextManager

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
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
) -> np.ndarray:
    """Class ids of a case.

    Args:
        net, window: in evaluation mode and on ``device``.
        images: ``[S, h, w]`` int16 HU, stored slices.
        grid: how they lie on the case's own grid.
        neighbours: slices on either side that the network sees.
        autocast: makes the context of the precision to compute in.

    Returns:
        ``[S, H, W]`` uint8 on the case's own grid.
    """
    out = np.empty((len(images), *grid.native), np.uint8)
    for start in range(0, len(images), SLICES_AT_ONCE):
        z = np.arange(start, min(start + SLICES_AT_ONCE, len(images)))
        chunk = torch.from_numpy(images[neighbourhood(z, len(images), neighbours)])
        with autocast():
            logits = net(window(pad(chunk.to(device))))
        logits = to_native(logits, grid)
        out[start : start + len(chunk)] = logits.argmax(1).to(torch.uint8).cpu().numpy()
    return out


def pad(image_hu: Tensor) -> Tensor:
    """``[..., H, W]`` with air below and to the right, up to the next multiples of `DIVISOR`."""
    down, right = (-image_hu.shape[axis] % DIVISOR for axis in (-2, -1))
    return F.pad(image_hu, (0, right, 0, down), value=AIR_HU) if down or right else image_hu


def to_native(logits: Tensor, grid: Grid) -> Tensor:
    """Logits ``[B, C, h, w]`` of stored (perhaps padded) slices -> ``[B, C, H, W]`` on ``grid``'s own.

    Interpolated as logits, not as labels: the class of a native pixel is then decided on its own.
    """
    inner = logits[..., grid.inside[0], grid.inside[1]]
    if grid.scaled == grid.native:
        return inner
    return F.interpolate(inner.float(), grid.native, mode="bilinear", align_corners=False)
