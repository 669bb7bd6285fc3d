"""A learning-rate schedule for a known number of steps."""

from math import cos, pi

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.1) -> LambdaLR:
    """The rate rises linearly over ``warmup`` (a share of the steps), then falls as a cosine to 0."""
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup={warmup} must lie in [0, 1): it is a share of the steps")
    rise = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        progress = (step - rise) / max(1, total_steps - rise)
        return 0.5 * (1 + cos(pi * min(1.0, progress)))

    return LambdaLR(optimizer, factor)
