"""How many pixels of each region two masks share: integers, which add up exactly in any order."""

import torch
from torch import Tensor

from kitsseg.labels import REGIONS


def region_counts(prediction: Tensor, truth: Tensor) -> Tensor:
    """Pixels of each region in both, in the prediction and in the truth.

    Args:
        prediction, truth: ``[B, ...]``, class ids.

    Returns:
        ``[B, regions, 3]`` int64, regions in the order of `kitsseg.labels.REGIONS`.
    """
    dims = tuple(range(1, prediction.ndim))
    rows = []
    for classes in REGIONS.values():
        p = torch.stack([prediction == c for c in classes]).any(0)
        g = torch.stack([truth == c for c in classes]).any(0)
        rows.append(torch.stack([(m.sum(dims)) for m in (p & g, p, g)], dim=-1))
    return torch.stack(rows, dim=1)
