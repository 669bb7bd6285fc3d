"""The moving average of the weights."""

import pytest
import torch

from kitsseg.training.callbacks.averaging import MovingAverage, update_averages


def test_the_average_follows_the_weights_with_a_rising_decay() -> None:
    average, batches = torch.tensor([1.0]), torch.tensor([0])
    expected = 1.0
    for step in range(1, 1001):
        update_averages(
            [average, batches], [torch.tensor([float(step)]), torch.tensor([step])], step, 0.99
        )
        decay = min(0.99, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.item() == pytest.approx(expected, rel=1e-5)
    assert batches.item() == 1000


def test_initial_weights_are_forgotten_soon() -> None:
    average = torch.tensor([1.0])
    for step in range(1, 20):
        update_averages([average], [torch.tensor([0.0])], step, 0.99)
    assert average.item() < 1e-6


def test_a_decay_of_one_would_never_move() -> None:
    with pytest.raises(ValueError, match=r"decay=1: must be in \[0, 1\)"):
        MovingAverage(1)
