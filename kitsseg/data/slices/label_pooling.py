"""Class ids at a coarser resolution, without a bias towards any class."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def shrink_label(label: Tensor, n: int | Sequence[int], classes: int = 3) -> Tensor:
    """Return the most frequent class of each block of pixels.

    Ties alternate between the lowest and the highest class in a checkerboard pattern. Always
    taking the same one would shrink or grow the tumour by several percent.

    Args:
        label: class ids ``[B, H, W]`` or ``[B, D, H, W]``; each side is a multiple of the block's.
        n: side of a block, or its sides per axis.
        classes: number of classes.

    Returns:
        ``[B, H / n, W / n]`` or ``[B, D / n, H / n, W / n]``.
    """
    ids = torch.arange(classes, device=label.device, dtype=label.dtype)
    planes = (label.unsqueeze(-1) == ids).movedim(-1, 1).float()
    sides = n if isinstance(n, int) else tuple(n)
    planes = (F.avg_pool2d if label.ndim == 3 else F.avg_pool3d)(planes, sides)
    lowest = planes.argmax(1)  # the first of equal values
    highest = classes - 1 - planes.flip(1).argmax(1)
    axes = [torch.arange(side, device=label.device) for side in lowest.shape[1:]]
    is_even = torch.stack(torch.meshgrid(axes, indexing="ij")).sum(0) % 2 == 0
    return torch.where(is_even, lowest, highest).to(label.dtype)
