"""Average the weights over the steps of training."""

from functools import partial

from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class MovingAverage(WeightAveraging):
    """Validate and save an exponential moving average of the weights and buffers.

    The decay of step n is ``min(decay, (1 + n) / (10 + n))``, so that the random initial weights are
    forgotten within a few steps, and the last tenth of a short training counts most. With a constant
    decay of 0.99, as in `pytorch_lightning.callbacks.EMAWeightAveraging`, they would have a weight of
    37 % after 100 steps. Source: `tf.train.ExponentialMovingAverage` (its argument ``num_updates``).

    Args:
        decay: the largest weight of the former average, in [0, 1).

    Raises:
        ValueError: ``decay`` is out of range.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: must be in [0, 1)")
        super().__init__(multi_avg_fn=partial(update_averages, decay=decay))


def update_averages(
    averages: list[Tensor], current: list[Tensor], updates: Tensor | int, decay: float
) -> None:
    """Move ``averages`` in place towards ``current`` after ``updates`` updates."""
    count = int(updates)
    weight = 1 - min(decay, (1 + count) / (10 + count))
    for average, value in zip(averages, current, strict=True):
        if average.is_floating_point():
            average.lerp_(value, weight)
        else:  # the number of batches of a batch norm
            average.copy_(value)
