"""Training that begins on a coarser grid."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from kitsseg.data.labels import CLASSES


class CoarseFirst(pl.Callback):
    """Halves the resolution of the training slices for the first ``epochs`` epochs.

    A step on a quarter of the pixels takes about a quarter of the time, and what a network learns first
    (where kidneys are) doesn't need all of them (progressive resizing: Howard 2018, fast.ai's DAWNBench
    entry). An image's pixel is the mean of four, a label's the class that most of them have, of equals
    the higher one. Validation keeps all pixels.

    Args:
        epochs: how many; each training stage counts its own.

    Raises:
        ValueError: ``epochs`` is negative.
    """

    def __init__(self, epochs: int) -> None:
        if epochs < 0:
            raise ValueError(f"epochs={epochs} must not be negative: a number of epochs")
        self.epochs = epochs

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_index: int
    ) -> None:
        if trainer.current_epoch < self.epochs:
            batch["image"] = F.avg_pool2d(batch["image"].float(), 2)
            batch["label"] = halved(batch["label"])


def halved(label: torch.Tensor) -> torch.Tensor:
    """``[B, H, W]`` class ids -> ``[B, H / 2, W / 2]``: the commonest of each four, or the higher."""
    ids = torch.arange(len(CLASSES), device=label.device, dtype=label.dtype)
    planes = (label[:, None] == ids[:, None, None]).float()
    # argmax takes the first of equals; turned round, that is the highest.
    best = F.avg_pool2d(planes, 2).flip(1).argmax(1)
    return (len(CLASSES) - 1 - best).to(label.dtype)
