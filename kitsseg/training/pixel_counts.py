"""Exact pixel counts of each region in a prediction and the truth."""

from functools import reduce

import torch
from torch import Tensor

from kitsseg.data.labels import KITS19, Labels


def region_counts(prediction: Tensor, truth: Tensor, labels: Labels = KITS19) -> Tensor:
    """Count the pixels of each region in the intersection, in the prediction and in the truth.

    Args:
        prediction, truth: class ids ``[B, ...]``.

    Returns:
        ``[B, regions, 3]`` int64, with the regions of ``labels`` in order.
    """
    # These operations are limited by memory bandwidth, so uint8 is faster.
    prediction, truth = (ids.flatten(1).to(torch.uint8) for ids in (prediction, truth))
    counts = []
    for region in labels.regions:
        classes = labels.ids(region)
        p, g = (reduce(torch.logical_or, (ids == c for c in classes)) for ids in (prediction, truth))
        counts.append(torch.stack([mask.count_nonzero(1) for mask in (p & g, p, g)], dim=-1))
    return torch.stack(counts, dim=1)
