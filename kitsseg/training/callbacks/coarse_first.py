"""Train the first epochs at half the resolution."""

from typing import Any

import pytorch_lightning as pl
from torch.nn import functional as F

from kitsseg.data.slices.label_pooling import shrink_label


class CoarseFirst(pl.Callback):
    """Halve the resolution of the training slices in the first ``epochs`` epochs.

    A step on a quarter of the pixels takes about a quarter of the time, and the first epochs mainly
    learn where the kidneys are (progressive resizing: Howard 2018, fast.ai's DAWNBench entry). Images
    are averaged over 2 x 2 pixels; see `shrink_label` for labels. Validation uses the full resolution.

    Args:
        epochs: number of epochs in each training stage.

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
            classes = len(module.labels.classes)  # type: ignore[union-attr, arg-type]
            batch["image"] = F.avg_pool2d(batch["image"].float(), 2)
            batch["label"] = shrink_label(batch["label"], 2, classes)
