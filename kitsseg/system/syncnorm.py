"""Batch norm over the slices of all ranks, on CPUs, too (torch's own is for GPUs)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from kitsseg.system.all_reduce import over_ranks


class _OverRanks(torch.autograd.Function):
    """Batch norm over the slices of all ranks, with one sum over the ranks each way.

    What is left are PyTorch's own passes over the data, which take bf16 and compute in float32.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The output, and per channel the mean, the variance and the number of all ranks' pixels."""
        kind = torch.promote_types(x.dtype, torch.float32)
        unused = x.new_zeros(2, x.shape[1], dtype=kind)  # given these, its figures aren't of 16 bits
        mean, variance = (
            own.double() for own in torch.batch_norm_update_stats(x, unused[0], unused[1], 0.0)
        )
        count = torch.full_like(mean, x.numel() / x.shape[1])
        count, sums, squares = over_ranks(
            torch.stack([count, count * mean, count * (variance + mean.square())])
        )
        mean = sums / count
        # In float64, of means that are exact in it; rounding may still put a constant's below 0.
        variance = (squares / count - mean.square()).clamp_min(0)
        ctx.eps, ctx.count = eps, count.to(weight.dtype)
        used = (mean.to(weight.dtype), variance.to(weight.dtype))
        ctx.save_for_backward(x, weight, *used)
        ctx.mark_non_differentiable(mean, variance, count)
        return F.batch_norm(x, *used, weight, bias, False, 0.0, eps), mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        # As if mean and variance were constants; then what they change.
        direct, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            slope, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        scale = -weight * (variance + ctx.eps).rsqrt() / ctx.count
        all_weight, all_bias = over_ranks(torch.stack([of_weight, of_bias]))
        used = (mean, variance, scale * all_weight, scale * all_bias)
        return direct + F.batch_norm(x, *used, False, 0.0, ctx.eps), of_weight, of_bias, None


class RankBatchNorm2d(nn.BatchNorm2d):
    """In training, mean and variance are those of all ranks' slices together."""

    def forward(self, input: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        if not self.training:
            return super().forward(input)
        weight, bias = self.weight, self.bias
        if weight is None:
            weight, bias = input.new_ones(self.num_features), input.new_zeros(self.num_features)
        y, mean, variance, count = _OverRanks.apply(input, weight, bias, self.eps)
        self._remember(mean, variance * count / (count - 1))
        normalised: Tensor = y
        return normalised

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def synchronised(net: nn.Module, device: torch.device) -> nn.Module:
    """``net`` with its batch norms over all ranks; names and weights stay as they are."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    if type(net) is nn.BatchNorm2d:
        made = RankBatchNorm2d(
            net.num_features, net.eps, net.momentum, net.affine, net.track_running_stats
        )
        made.load_state_dict(net.state_dict())
        return made.train(net.training)
    for name, child in net.named_children():
        setattr(net, name, synchronised(child, device))
    return net
