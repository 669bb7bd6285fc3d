"""Training that begins on a coarser grid: what the network sees in which epoch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kitsseg.data.case import Case
from kitsseg.training.callbacks.coarse_first import CoarseFirst, halve_label
from tests.helpers.parts import make_data, make_task
from tests.training.test_task import net, trainer


def test_the_commonest_class_of_four_or_the_higher() -> None:
    label = torch.tensor(
        [
            [0, 0, 0, 1, 1, 2, 0, 1],
            [0, 1, 0, 1, 2, 1, 2, 2],
        ],
        dtype=torch.uint8,
    )[None]
    found = halve_label(label)
    assert found.dtype == torch.uint8
    assert found.tolist() == [[[0, 1, 2, 2]]]


def test_any_label_against_counting() -> None:
    label = np.random.default_rng(0).integers(0, 3, (2, 6, 8))
    expected = [
        [
            [max(range(3), key=lambda c: ((block == c).sum(), c)) for block in row]
            for row in plane.reshape(3, 2, 4, 2).transpose(0, 2, 1, 3)
        ]
        for plane in label
    ]
    assert halve_label(torch.from_numpy(label)).tolist() == expected


def test_only_the_first_epochs_and_only_training(block_cases: list[Case], tmp_path: Path) -> None:
    data = make_data(block_cases[0].image.parent.parent, tmp_path)
    seen: list[tuple[int, bool, int]] = []
    network = net()

    def note(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        seen.append((runner.current_epoch, module.training, args[0].shape[-1]))

    network.register_forward_pre_hook(note)
    runner = trainer(max_epochs=3, callbacks=[CoarseFirst(2)])
    runner.fit(make_task(network), data)
    sides = {(epoch, training): {s for e, t, s in seen if (e, t) == (epoch, training)}
             for epoch, training, _ in seen}  # fmt: skip
    assert sides == {
        (0, True): {32}, (1, True): {32}, (2, True): {64},
        (0, False): {64}, (1, False): {64}, (2, False): {64},
    }  # fmt: skip


def test_pixels_are_means(block_cases: list[Case]) -> None:
    runner = trainer(max_epochs=1)
    batch = {
        "image": torch.tensor([[[[-1024, -1023], [100, 101]]]], dtype=torch.int16),
        "label": torch.tensor([[[0, 0], [1, 2]]], dtype=torch.uint8),
    }
    CoarseFirst(1).on_train_batch_start(runner, make_task(net()), batch, 0)
    assert batch["image"].tolist() == [[[[-461.5]]]]
    assert batch["label"].tolist() == [[[0]]]


def test_range() -> None:
    with pytest.raises(ValueError, match="epochs=-1: must be at least 0"):
        CoarseFirst(-1)
