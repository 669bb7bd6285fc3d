"""Coarse training in the first epochs: the input of the network and the pooling of labels."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from kitsseg.data.case import Case
from kitsseg.data.slices.label_pooling import shrink_label
from kitsseg.data.store.grid import Grid
from kitsseg.training.callbacks.coarse_first import CoarseFirst
from tests.helpers.parts import make_data, make_task
from tests.training.test_task import net, trainer


def test_most_frequent_class_of_a_block_wins_and_ties_alternate() -> None:
    label = torch.tensor(
        [
            [0, 0, 0, 1, 1, 2, 0, 1],
            [0, 1, 0, 1, 2, 1, 2, 2],
        ],
        dtype=torch.uint8,
    )[None]
    found = shrink_label(label, 2)
    assert found.dtype == torch.uint8
    assert found.tolist() == [[[0, 1, 1, 2]]]


def test_pooling_equals_counting_for_random_labels() -> None:
    label = np.random.default_rng(0).integers(0, 3, (2, 6, 8))
    expected = [
        [
            [
                max(range(3), key=lambda c: ((block == c).sum(), c if (i + j) % 2 else -c))
                for j, block in enumerate(row)
            ]
            for i, row in enumerate(plane.reshape(3, 2, 4, 2).transpose(0, 2, 1, 3))
        ]
        for plane in label
    ]
    assert shrink_label(torch.from_numpy(label), 2).tolist() == expected


@pytest.mark.parametrize("n", [(2, 2, 2), (1, 2, 2), (2, 1, 4)])
def test_pooling_of_volumes_equals_counting(n: tuple[int, int, int]) -> None:
    label = np.random.default_rng(1).integers(0, 3, (2, 4, 6, 8))
    found = shrink_label(torch.from_numpy(label), n).numpy()
    assert found.shape == (2, 4 // n[0], 6 // n[1], 8 // n[2])
    for at in np.ndindex(found.shape):
        block = label[at[0]][tuple(slice(i * k, (i + 1) * k) for i, k in zip(at[1:], n, strict=True))]
        counts = np.bincount(block.ravel(), minlength=3)
        winners = np.flatnonzero(counts == counts.max())
        assert found[at] == winners[-1 if sum(at[1:]) % 2 else 0]


@pytest.mark.parametrize("n", [(2, 2, 2), (1, 2, 2), (2, 4, 4)])
def test_volumes_of_patches_are_preserved_on_average(n: tuple[int, int, int]) -> None:
    """Blobs are smooth within slices and constant over four slices, as thick slices resampled."""
    label = np.stack([np.repeat(blobs(seed, 24), 4, axis=0) for seed in range(20)])
    shrunk = shrink_label(torch.from_numpy(label), n).numpy()
    for lowest in (1, 2):
        before, after = (label >= lowest).sum(), (shrunk >= lowest).sum() * np.prod(n)
        assert abs(after / before - 1) < 0.005


def blobs(seed: int, sd: float) -> np.ndarray:
    """Return ``[8, 128, 128]``: smooth random kidneys, with smooth random tumours in them."""
    noise = np.random.default_rng(seed).standard_normal((8, 128, 128))
    smooth = np.stack([cv2.GaussianBlur(plane, (0, 0), sd) for plane in noise])
    return np.digitize(smooth / smooth.std(), (0.5, 1.2)).astype(np.uint8)


@pytest.mark.parametrize("n", [2, 4])
def test_volumes_are_preserved_on_average(n: int) -> None:
    """Both label reductions, `shrink_label` and `Grid.fit_label`, preserve kidney and tumour volumes."""
    label = np.concatenate([blobs(seed, 6 * n) for seed in range(40)])
    grid = Grid((128, 128), 128 // n)
    for shrunk in (shrink_label(torch.from_numpy(label), n).numpy(), grid.fit_label(label)):
        for lowest in (1, 2):
            before, after = (label >= lowest).sum(), (shrunk >= lowest).sum() * n**2
            assert abs(after / before - 1) < 0.005


def test_coarser_targets_are_not_shifted() -> None:
    """The centre of a disc does not move; taking every n-th pixel would move it by (n - 1) / 2."""
    rng, axis = np.random.default_rng(0), np.arange(64)
    centres = rng.uniform(24, 40, (200, 2))
    squares = (axis - centres[..., None]) ** 2
    label = torch.from_numpy((squares[:, 0, :, None] + squares[:, 1, None] < 20**2).astype(np.uint8))
    for n in (2, 4, 8):
        found = [torch.nonzero(plane).double().mean(0) for plane in shrink_label(label, n)]
        off = torch.stack(found).numpy() * n + (n - 1) / 2 - centres
        assert np.abs(off.mean(axis=0)).max() < 0.1


def test_only_training_in_the_first_epochs_is_coarse(block_cases: list[Case], tmp_path: Path) -> None:
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


def test_image_pixels_are_averaged(block_cases: list[Case]) -> None:
    runner = trainer(max_epochs=1)
    batch = {
        "image": torch.tensor([[[[-1024, -1023], [100, 101]]]], dtype=torch.int16),
        "label": torch.tensor([[[0, 0], [1, 2]]], dtype=torch.uint8),
    }
    CoarseFirst(1).on_train_batch_start(runner, make_task(net()), batch, 0)
    assert batch["image"].tolist() == [[[[-461.5]]]]
    assert batch["label"].tolist() == [[[0]]]


def test_negative_epochs_raise() -> None:
    with pytest.raises(ValueError, match="epochs=-1: must be at least 0"):
        CoarseFirst(-1)
