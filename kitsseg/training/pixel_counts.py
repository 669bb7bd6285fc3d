"""Pixels of each region in a prediction and the truth, as integers that add up exactly."""

from functools import reduce

import torch
from torch import Tensor

from kitsseg.data.labels import KITS19, Labels


def region_counts(prediction: Tensor, truth: Tensor, labels: Labels = KITS19) -> Tensor:
    """Count the pixels of each region in both, in the prediction, and in the truth.

    Args:
        prediction, truth: class ids ``[B, ...]``.

    Returns:
        ``[B, regions, 3]`` int64, with the regions of ``labels`` in order.
    """
    # Comparing and counting is bound by memory bandwidth, so small integers are faster.
    prediction, truth = (ids.flatten(1).to(torch.uint8) for ids in (prediction, truth))
    counts = []
    for region in labels.regions:
        classes = labels.ids(region)
        p, g = (reduce(torch.logical_or, (ids == c for c in classes)) for ids in (prediction, truth))
        counts.append(torch.stack([mask.count_nonzero(1) for mask in (p & g, p, g)], dim=-1))
    return torch.stack(counts, dim=1)
