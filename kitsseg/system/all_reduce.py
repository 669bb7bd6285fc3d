"""A differentiable sum over the processes of a job."""

from typing import Any

import torch
from torch import Tensor, distributed


class _SumOverRanks(torch.autograd.Function):
    """A sum over ranks. Each rank's part has to do with all ranks' results, so gradients add up, too."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


def over_ranks(own: Tensor) -> Tensor:
    """The sum of a tensor over all processes of a job; alone, the tensor itself."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return own
    if distributed.get_world_size() == 1:
        return own
    total: Tensor = _SumOverRanks.apply(own)
    return total
