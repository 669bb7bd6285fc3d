"""Losses over logits ``[B, C, H, W]`` and class ids ``[B, H, W]``, always computed in float32.

Each loss is given by *terms* that add up over slices and a *reduction* of their sum. So the loss of a
batch, of a case and of a whole validation set are the same formula, and the last two don't depend on
how the slices were batched or spread over ranks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kitsseg.system.all_reduce import over_ranks

SMOOTH = 1e-5


def dice_terms(probabilities: Tensor, onehot: Tensor) -> Tensor:
    """The three sums of the paper's equation 1 per slice and class.

    Args:
        probabilities, onehot: ``[B, C, H, W]``, float32.

    Returns:
        ``[B, C, 3]``: sum of p g, of p squared and of g squared over the pixels.
    """
    p, g = probabilities.flatten(2), onehot.flatten(2)
    return torch.stack([(p * g).sum(-1), (p * p).sum(-1), (g * g).sum(-1)], dim=-1)


def dice_from_terms(terms: Tensor, smooth: float = SMOOTH) -> Tensor:
    """Equation 1, ``2 sum(pg) / (sum(p^2) + sum(g^2))``: ``[..., 3]`` -> ``[...]``.

    ``smooth`` is added above and below, so a class that is neither there nor predicted gives 1.
    """
    pg, pp, gg = terms.unbind(-1)
    return (2 * pg + smooth) / (pp + gg + smooth)


class Loss(nn.Module):
    """A loss that is a function of sums over slices."""

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        """What adds up: ``[B, K]``, float32."""
        raise NotImplementedError

    def reduce(self, total: Tensor) -> Tensor:
        """The loss (a scalar) from the sum ``[K]`` of the terms."""
        raise NotImplementedError

    def forward(self, logits: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """The loss of a batch; of a list of logits, from fine to coarse, see `deep_supervision`."""
        if not isinstance(logits, Tensor):
            return deep_supervision(self, logits, target)
        # Autocast would bring sums over 512 x 512 pixels back to 16 bits, where they overflow.
        with torch.autocast(logits.device.type, enabled=False):
            # Over the slices of all ranks: the mean of the ranks' own losses would be another loss.
            return self.reduce(over_ranks(self.terms(logits.float(), target).sum(0)))


def deep_supervision(loss: Loss, logits: Sequence[Tensor], target: Tensor) -> Tensor:
    """The mean of a loss over several sizes, each weighted half as much as the finer one (nnU-Net).

    Args:
        logits: ``[B, C, H / n, W / n]`` for n = 1, 2, 4 and so on.
        target: ``[B, H, W]``; a coarser one has every n-th pixel.
    """
    steps = [2**level for level in range(len(logits))]
    parts = [loss(each, target[:, ::n, ::n]) / n for each, n in zip(logits, steps, strict=True)]
    return torch.stack(parts).sum() / sum(1 / n for n in steps)


class SorensenDice(Loss):
    """One minus the Sørensen-Dice coefficient with squared denominators (paper section 2.2, eq. 1).

    Softmax over the classes, the coefficient per class, the mean over classes.

    Args:
        batch: one coefficient over all pixels of the batch; else one a slice, then their mean.
        background: whether the background counts as a class.
        smooth: added to numerator and denominator; must be above 0.
    """

    def __init__(self, batch: bool = True, background: bool = False, smooth: float = SMOOTH) -> None:
        super().__init__()
        if not smooth > 0:
            raise ValueError(f"smooth={smooth} must be above 0: an empty class would divide by 0")
        self.batch, self.background, self.smooth = batch, background, smooth

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        # Not F.one_hot, which looks at the values (a wait for the device) and makes 64-bit integers.
        ids = torch.arange(logits.shape[1], device=target.device, dtype=target.dtype)
        onehot = (target[:, None] == ids[:, None, None]).to(logits.dtype)
        terms = dice_terms(logits.softmax(1), onehot)
        if not self.background:
            terms = terms[:, 1:]
        if self.batch:
            return terms.flatten(1)
        loss = 1 - dice_from_terms(terms, self.smooth).mean(1, keepdim=True)
        return torch.cat([loss, torch.ones_like(loss)], dim=1)

    def reduce(self, total: Tensor) -> Tensor:
        if self.batch:
            return 1 - dice_from_terms(total.unflatten(0, (-1, 3)), self.smooth).mean()
        return total[0] / total[1]


class SliceMean(Loss):
    """Any ``loss(logits, target) -> scalar`` as a loss of this framework: its mean over slices.

    Args:
        loss: the module; called with one slice at a time, ``[1, C, H, W]`` and a target.
        channel: give the target as ``[1, 1, H, W]`` (MONAI's habit) instead of ``[1, H, W]``.
    """

    def __init__(self, loss: nn.Module, channel: bool = False) -> None:
        super().__init__()
        self.loss, self.channel = loss, channel

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        target = target.long()[:, None] if self.channel else target.long()
        values = [self.loss(logits[i : i + 1], target[i : i + 1]) for i in range(len(logits))]
        loss = torch.stack(values).reshape(-1, 1)
        return torch.cat([loss, torch.ones_like(loss)], dim=1)

    def reduce(self, total: Tensor) -> Tensor:
        return total[0] / total[1]


class DiceCrossEntropy(Loss):
    """The field's usual alternative: Sørensen-Dice plus cross-entropy over pixels (nnU-Net's sum).

    Args:
        dice: the Dice part; `SorensenDice` with its defaults if not given.
        dice_weight, ce_weight: the weights of the two parts, not negative, not both 0.
    """

    def __init__(
        self, dice: SorensenDice | None = None, dice_weight: float = 1.0, ce_weight: float = 1.0
    ) -> None:
        super().__init__()
        if dice_weight < 0 or ce_weight < 0 or dice_weight + ce_weight == 0:
            raise ValueError(
                f"dice_weight={dice_weight}, ce_weight={ce_weight}: neither may be negative, "
                "and one must be above 0"
            )
        self.dice = SorensenDice() if dice is None else dice
        self.dice_weight, self.ce_weight = dice_weight, ce_weight

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        entropy = F.cross_entropy(logits, target.long(), reduction="none").flatten(1).sum(1)
        pixels = torch.full_like(entropy, target[0].numel())
        own = torch.stack([entropy, pixels], dim=1)
        return torch.cat([own, self.dice.terms(logits, target)], dim=1)

    def reduce(self, total: Tensor) -> Tensor:
        entropy = total[0] / total[1]
        return self.ce_weight * entropy + self.dice_weight * self.dice.reduce(total[2:])
