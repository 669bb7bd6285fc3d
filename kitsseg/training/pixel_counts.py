"""How many pixels of each region two masks share: integers, which add up exactly in any order."""

from functools import reduce

import torch
from torch import Tensor

from kitsseg.data.labels import REGIONS


def region_counts(prediction: Tensor, truth: Tensor) -> Tensor:
    """Pixels of each region in both, in the prediction and in the truth.

    Args:
        prediction, truth: ``[B, ...]``, class ids.

    Returns:
        ``[B, regions, 3]`` int64, regions in the order of `kitsseg.data.labels.REGIONS`.
    """
    # Small integers: comparing and counting them is bound by memory.
    prediction, truth = (ids.flatten(1).to(torch.uint8) for ids in (prediction, truth))
    rows = []
    for classes in REGIONS.values():
        p, g = (reduce(torch.logical_or, (ids == c for c in classes)) for ids in (prediction, truth))
        rows.append(torch.stack([mask.count_nonzero(1) for mask in (p & g, p, g)], dim=-1))
    return torch.stack(rows, dim=1)
