"""Losses over logits ``[B, C, ...]`` and class ids ``[B, ...]``, computed in float32.

``...`` are the spatial axes: ``H, W`` of slices or ``D, H, W`` of patches, which count as slices below.
A loss consists of *terms* that are summed over slices and a *reduction* of the sums. The same formula
therefore gives the loss of a batch and of a whole case. The loss of a case does not depend on the batch
size or on the number of ranks.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from kitsseg.data.slices.label_pooling import shrink_label

SMOOTH = 1e-5


def dice_terms(probabilities: Tensor, onehot: Tensor) -> Tensor:
    """Return the three sums of equation 1 of the paper per slice and class.

    Args:
        probabilities, onehot: ``[B, C, ...]``, float32.

    Returns:
        ``[B, C, 3]``: the sums of p g, of p squared and of g squared over the pixels.
    """
    p, g = probabilities.flatten(2), onehot.flatten(2)
    return torch.stack([(p * g).sum(-1), (p * p).sum(-1), (g * g).sum(-1)], dim=-1)


def dice_from_terms(terms: Tensor, smooth: float = SMOOTH) -> Tensor:
    """Evaluate equation 1, ``2 sum(pg) / (sum(p^2) + sum(g^2))``: ``[..., 3]`` -> ``[...]``.

    ``smooth`` is added to numerator and denominator, so a class that is absent from both gives 1.
    """
    pg, pp, gg = terms.unbind(-1)
    return (2 * pg + smooth) / (pp + gg + smooth)


class _SumOverRanks(torch.autograd.Function):
    # Every rank's loss depends on the sum, so gradients are summed as well.
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _SumOverRanks.forward(ctx, *gradients)


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Return the differentiable sum over all ranks, or ``tensor`` itself if there is one rank."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return tensor
    total: Tensor = _SumOverRanks.apply(tensor)  # type: ignore[no-untyped-call]
    return total


class Loss(nn.Module):
    """Base class of losses that are a function of sums over slices."""

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the terms of each slice, ``[B, K]`` float32."""
        raise NotImplementedError

    def reduce(self, total: Tensor) -> Tensor:
        """Return the loss (a scalar) from the summed terms ``[K]``."""
        raise NotImplementedError

    def forward(self, logits: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """Return the loss of a batch; a list of logits is handled by `deep_supervision`."""
        if not isinstance(logits, Tensor):
            return deep_supervision(self, logits, target)
        # Under autocast, sums over 512 x 512 pixels overflow in 16 bits.
        with torch.autocast(logits.device.type, enabled=False):
            # Sum over ranks first, because the mean of the ranks' Dice losses is a different loss.
            return self.reduce(sum_over_ranks(self.terms(logits.float(), target).sum(0)))


def check_loss(loss: object, classes: int) -> None:
    """Raise `ValueError` unless ``loss`` computes terms of logits that can be summed over slices."""
    if not isinstance(loss, Loss):
        name = f"{type(loss).__module__}.{type(loss).__name__}"
        raise ValueError(
            f"loss: {name} does not compute sums over slices; set "
            f"loss=slice_mean loss.loss._target_={name}"
        )
    try:
        loss.terms(torch.zeros(2, classes, 64, 64), torch.zeros(2, 64, 64, dtype=torch.uint8))
    except Exception as error:  # arbitrary losses raise arbitrary errors
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"loss: cannot be applied to logits of {classes} classes ({type(error).__name__}: {reason})"
        ) from error


def deep_supervision(loss: Loss, logits: Sequence[Tensor], target: Tensor) -> Tensor:
    """Return the weighted mean of a loss over resolutions; the weight halves with each coarser one.

    The weights are those of nnU-Net (Isensee et al. 2021).

    Args:
        loss: the loss at one resolution.
        logits: ``[B, C, ...]`` from fine to coarse.
        target: ``[B, ...]``, each side a multiple of the logits' side; see `shrink_label` for the
            coarser targets.
    """
    weights = [1 / 2**level for level in range(len(logits))]
    parts = []
    for each, weight in zip(logits, weights, strict=True):
        n = [a // b for a, b in zip(target.shape[1:], each.shape[2:], strict=True)]
        label = target if max(n) == 1 else shrink_label(target, n, each.shape[1])
        parts.append(loss(each, label) * weight)
    total: Tensor = torch.stack(parts).sum() / sum(weights)
    return total


class SorensenDice(Loss):
    """One minus the Sørensen-Dice coefficient with squared denominators (paper section 2.2, eq. 1).

    The softmax probabilities give one coefficient per class or region; the loss takes their mean.

    Args:
        batch: compute the coefficient over all pixels of the batch; otherwise per slice, averaged.
        background: include the background as a class.
        smooth: added to numerator and denominator; must be above 0.
        regions: class ids of each region, such as ``[[1, 2], [2]]``. The probability of a region is the
            sum over its classes. None: each class but the background is a region.

    Raises:
        ValueError: ``smooth`` is not above 0, or a region has no class, the background or a class twice.
    """

    def __init__(
        self,
        batch: bool = True,
        background: bool = False,
        smooth: float = SMOOTH,
        regions: Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        if not smooth > 0:
            raise ValueError(f"smooth={smooth}: must be above 0, or an absent class gives 0 / 0")
        self.batch, self.background, self.smooth = batch, background, smooth
        self.regions = None if regions is None else [list(region) for region in regions]
        for region in self.regions or []:
            if not region or min(region) < 1 or len(set(region)) < len(region):
                raise ValueError(
                    f"regions={self.regions}: must hold lists of different class ids above 0"
                )

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        # F.one_hot would synchronise with the device and return int64.
        ids = torch.arange(logits.shape[1], device=target.device, dtype=target.dtype)
        onehot = (target[:, None] == ids.view(-1, *[1] * (target.ndim - 1))).to(logits.dtype)
        p, g = logits.softmax(1), onehot
        if self.regions is not None:
            if max(map(max, self.regions)) >= logits.shape[1]:
                raise ValueError(f"regions={self.regions}: there are {logits.shape[1]} classes")
            groups = [*([[0]] if self.background else []), *self.regions]
            p, g = (torch.stack([x[:, ids].sum(1) for ids in groups], dim=1) for x in (p, g))
        elif not self.background:
            p, g = p[:, 1:], g[:, 1:]
        terms = dice_terms(p, g)
        if self.batch:
            return terms.flatten(1)
        loss = 1 - dice_from_terms(terms, self.smooth).mean(1, keepdim=True)
        return torch.cat([loss, torch.ones_like(loss)], dim=1)

    def reduce(self, total: Tensor) -> Tensor:
        if self.batch:
            return 1 - dice_from_terms(total.reshape(-1, 3), self.smooth).mean()
        return total[0] / total[1]


class SliceMean(Loss):
    """The mean over slices of any loss ``loss(logits, target) -> scalar``.

    Args:
        loss: a module that is called with one slice at a time, ``[1, C, ...]``, and its target.
        channel: pass the target as ``[1, 1, ...]`` (as MONAI's losses expect) instead of ``[1, ...]``.
    """

    def __init__(self, loss: nn.Module, channel: bool = False) -> None:
        super().__init__()
        self.loss, self.channel = loss, channel

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        target = target.long()[:, None] if self.channel else target.long()
        values = [self.loss(logits[i : i + 1], target[i : i + 1]) for i in range(len(logits))]
        if values[0].numel() != 1:
            name = type(self.loss).__name__
            raise ValueError(f"{name} returns {list(values[0].shape)}, not a scalar; return the mean")
        loss = torch.stack(values).reshape(-1, 1)
        return torch.cat([loss, torch.ones_like(loss)], dim=1)

    def reduce(self, total: Tensor) -> Tensor:
        return total[0] / total[1]


class DiceCrossEntropy(Loss):
    """Weighted sum of Sørensen-Dice and the mean cross-entropy over pixels, as in nnU-Net.

    Args:
        dice: the Dice loss; by default `SorensenDice` with its defaults.
        dice_weight: weight of the Dice loss, not negative.
        ce_weight: weight of the cross-entropy, not negative. One of the two must be above 0.

    Raises:
        ValueError: a weight is out of range.
    """

    def __init__(
        self, dice: SorensenDice | None = None, dice_weight: float = 1.0, ce_weight: float = 1.0
    ) -> None:
        super().__init__()
        if dice_weight < 0 or ce_weight < 0 or dice_weight + ce_weight == 0:
            raise ValueError(
                f"dice_weight={dice_weight}, ce_weight={ce_weight}: must not be negative, and one must "
                "be above 0"
            )
        self.dice = SorensenDice() if dice is None else dice
        self.dice_weight, self.ce_weight = dice_weight, ce_weight

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        entropy = F.cross_entropy(logits, target.long(), reduction="none").flatten(1).sum(1)
        pixels = torch.full_like(entropy, target[0].numel())
        terms = torch.stack([entropy, pixels], dim=1)
        return torch.cat([terms, self.dice.terms(logits, target)], dim=1)

    def reduce(self, total: Tensor) -> Tensor:
        entropy = total[0] / total[1]
        return self.ce_weight * entropy + self.dice_weight * self.dice.reduce(total[2:])
