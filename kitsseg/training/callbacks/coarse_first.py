"""Training that starts at half the resolution."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from kitsseg.data.labels import CLASSES


class CoarseFirst(pl.Callback):
    """Halve the resolution of the training slices in the first ``epochs`` epochs.

    A step on a quarter of the pixels takes about a quarter of the time, and the first epochs learn
    where the kidneys are (progressive resizing: Howard 2018, fast.ai's DAWNBench entry). A pixel of the
    image is the mean of four; a pixel of the label is their most frequent class, and the highest of
    equally frequent ones. Validation uses the full resolution.

    Args:
        epochs: number of epochs; each training stage counts its own.

    Raises:
        ValueError: ``epochs`` is negative.
    """

    def __init__(self, epochs: int) -> None:
        if epochs < 0:
            raise ValueError(f"epochs={epochs}: must be at least 0")
        self.epochs = epochs

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_index: int
    ) -> None:
        if trainer.current_epoch < self.epochs:
            batch["image"] = F.avg_pool2d(batch["image"].float(), 2)
            batch["label"] = halve_label(batch["label"])


def halve_label(label: torch.Tensor) -> torch.Tensor:
    """Map class ids ``[B, H, W]`` to ``[B, H / 2, W / 2]`` by majority; ties go to the higher class."""
    ids = torch.arange(len(CLASSES), device=label.device, dtype=label.dtype)
    planes = (label[:, None] == ids[:, None, None]).float()
    # argmax returns the first of equal values; on flipped planes, that is the highest class.
    best = F.avg_pool2d(planes, 2).flip(1).argmax(1)
    return (len(CLASSES) - 1 - best).to(label.dtype)
