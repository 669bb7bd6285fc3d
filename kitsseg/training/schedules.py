"""Learning-rate schedules."""

from math import cos, pi

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.1) -> LambdaLR:
    """Return a schedule that rises linearly, then falls to 0 along a cosine.

    Args:
        optimizer: its learning rate is the maximum of the schedule.
        total_steps: number of training steps.
        warmup: fraction of the steps in which the rate rises, in [0, 1).

    Raises:
        ValueError: ``warmup`` is out of range.
    """
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup={warmup}: must be in [0, 1), a fraction of the steps")
    rise = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        progress = (step - rise) / max(1, total_steps - rise)
        return 0.5 * (1 + cos(pi * min(1.0, progress)))

    return LambdaLR(optimizer, factor)


def polynomial(optimizer: Optimizer, total_steps: int, power: float = 0.9) -> LambdaLR:
    """Return a schedule that falls to 0 as ``(1 - step / total_steps) ** power``, as in nnU-Net.

    Args:
        optimizer: its learning rate is the rate of the first step.
        total_steps: number of training steps.
        power: exponent, above 0.

    Raises:
        ValueError: ``power`` is out of range.
    """
    if power <= 0:
        raise ValueError(f"power={power}: must be above 0")
    return LambdaLR(optimizer, lambda step: max(0.0, 1 - step / total_steps) ** power)
