"""Tests that checkpoints of commit 21ca4d0 load and predict as they did at that commit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kitsseg.inference import checkpoint
from kitsseg.inference.segmenter import Segmenter

FOLDER = Path(__file__).parent / "old_checkpoints"


@pytest.mark.parametrize(
    ("name", "voxels", "means"),
    [
        ("unet", [500, 11788, 0], [0.5458, 0.6625, -0.4214]),
        ("attn_unet", [578, 11710, 0], [0.5463, 0.6610, -0.4217]),
        ("monai_basic_unet", [0, 6560, 5728], [-0.8453, 0.4101, 0.3791]),
    ],
)
def test_an_old_checkpoint_predicts_as_before(name: str, voxels: list[int], means: list[float]) -> None:
    """Compare the voxels per class and the mean logit per class on seeded noise in HU."""
    image = np.random.default_rng(0).integers(-1000, 1000, (3, 64, 64)).astype(np.int16)
    loaded = checkpoint.load(FOLDER / f"{name}.ckpt")
    with torch.no_grad():
        logits = loaded.net(loaded.window(torch.from_numpy(image)[:, None].float()))
    assert logits.mean((0, 2, 3)).tolist() == pytest.approx(means, abs=1e-4)
    segmenter = Segmenter.load(FOLDER / f"{name}.ckpt", device="cpu", precision="32-true")
    label = segmenter(image)
    assert np.bincount(label.ravel(), minlength=3).tolist() == pytest.approx(voxels, abs=2)
