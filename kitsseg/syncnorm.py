"""Batch norm over the slices of all ranks, on CPUs, too (torch's own is for GPUs)."""

import torch
from torch import Tensor, nn

from kitsseg.losses import over_ranks


class RankBatchNorm2d(nn.BatchNorm2d):
    """In training, mean and variance are those of all ranks' slices together."""

    def forward(self, input: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        if not self.training:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            x = input.float()
            shape, over = (1, -1, 1, 1), (0, 2, 3)
            own = torch.full_like(x[0, :, 0, 0], x.numel() / x.shape[1])
            count = over_ranks(own)
            mean = over_ranks(x.sum(over)) / count
            centred = x - mean.view(shape)
            variance = over_ranks(centred.square().sum(over)) / count
            self._remember(mean.detach(), variance.detach() * count / (count - 1))
            y = centred * (variance + self.eps).rsqrt().view(shape)
            if self.weight is not None:
                y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


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
