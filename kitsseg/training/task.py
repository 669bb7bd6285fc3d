"""What a training step and a validation epoch compute; nothing about data, files or plots."""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from kitsseg.data.labels import REGIONS
from kitsseg.evaluation.metrics import dice, mean_over_cases
from kitsseg.models.window import Window
from kitsseg.training.losses import Loss
from kitsseg.training.pixel_counts import region_counts


class SegmentationTask(pl.LightningModule):
    """Trains ``net`` on batches of HU slices.

    Batches are those of `kitsseg.data.slices.dataset.Batch`. Logged are ``train/loss``, ``val/loss`` and
    ``val/<region>_dice``: loss and Dice of each validation case as a whole, then their mean over
    cases, so they don't depend on how slices are batched or spread over ranks.

    Args:
        net: image ``[B, K, H, W]`` -> logits ``[B, C, H, W]``.
        loss: see `kitsseg.training.losses.Loss`.
        window: HU -> the network's input.
        optimizer: called with the parameters that aren't frozen.
        scheduler: called with the optimiser. One that takes ``total_steps`` is stepped after every
            batch, any other after every validation.
        frozen: submodules of ``net`` that stay in evaluation mode, so that their norms keep their
            statistics (`kitsseg.training.finetune`).
        prefix: put before the names of what is logged.
        header: plain values that make the checkpoint self-contained (`kitsseg.inference.checkpoint`).
    """

    def __init__(
        self,
        net: nn.Module,
        loss: Loss,
        window: Window,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler],
        frozen: Sequence[nn.Module] = (),
        prefix: str = "",
        header: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.net, self.loss, self.window = net, loss, window
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.frozen, self.prefix, self.header = tuple(frozen), prefix, header
        self._seen: list[tuple[Tensor, ...]] = []
        self._validated: float | None = None
        # Lightning leaves each module in the mode in which it finds it.
        self.train()

    def forward(self, image_hu: Tensor) -> Tensor:
        """``[B, K, H, W]`` HU -> logits ``[B, C, H, W]``."""
        return self.net(self.window(image_hu))

    def train(self, mode: bool = True) -> "SegmentationTask":
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        loss = self.loss(self(batch["image"]), batch["label"])
        size = len(batch["image"])
        self.log(
            f"{self.prefix}train/loss", loss, on_step=False, on_epoch=True, batch_size=size,
            sync_dist=True,
        )  # fmt: skip
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        logits, label = self(batch["image"]).float(), batch["label"]
        self._seen.append(
            (
                batch["row"],
                batch["case"],
                self.loss.terms(logits, label).double(),
                region_counts(logits.argmax(1), label),
            )
        )

    def on_validation_epoch_end(self) -> None:
        own = [torch.cat(parts).cpu().numpy() for parts in zip(*self._seen, strict=True)]
        self._seen.clear()
        rows, cases, terms, counts = _gather(own)
        # In the order of the store, whatever rank saw a slice: the same additions, the same bits.
        # A row comes twice where a rank would have had nothing to do.
        order = np.unique(rows, return_index=True)[1]
        cases, terms, counts = cases[order], terms[order], counts[order]
        groups = [cases == case for case in np.unique(cases)]
        losses = [self.loss.reduce(torch.from_numpy(terms[g].sum(0))).item() for g in groups]
        scores = dice(np.stack([counts[g].sum(0) for g in groups]))
        figures = {"val/loss": float(np.mean(losses))}
        if not math.isfinite(figures["val/loss"]):
            raise ValueError(
                f"val/loss is {figures['val/loss']} after epoch {self.current_epoch + 1}; try a "
                "smaller optimizer.lr, trainer.gradient_clip_val=1 or trainer.precision=32-true"
            )
        for i, region in enumerate(REGIONS):
            figures[f"val/{region}_dice"] = mean_over_cases(scores[:, i])
        self.log_dict({self.prefix + name: value for name, value in figures.items()})
        self._validated = figures["val/loss"]

    def on_train_epoch_end(self) -> None:
        """Step a scheduler that goes by epochs.

        Lightning would do so after it has written the epoch's checkpoint, in which the step is then
        missing for good.
        """
        validated, self._validated = self._validated, None
        plan = self.trainer.lr_scheduler_configs[0]
        if plan.interval != "epoch":
            return
        if not isinstance(plan.scheduler, ReduceLROnPlateau):
            plan.scheduler.step()
        elif validated is not None:  # else the loss would be missing or old
            plan.scheduler.step(validated)

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        if self.trainer.lr_scheduler_configs[0].interval == "step":
            scheduler.step()

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer([p for p in self.net.parameters() if p.requires_grad])
        if _takes_total_steps(self.make_scheduler):
            total = int(self.trainer.estimated_stepping_batches)
            scheduler = self.make_scheduler(optimizer, total_steps=total)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]
        scheduler = self.make_scheduler(optimizer)
        plan: dict[str, Any] = {"scheduler": scheduler, "interval": "epoch"}
        if isinstance(scheduler, ReduceLROnPlateau):
            plan["monitor"] = f"{self.prefix}val/loss"
            plan["frequency"] = self.trainer.check_val_every_n_epoch or 1  # of Lightning asking for it
        return [optimizer], [plan]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["kitsseg"] = self.header


def _takes_total_steps(scheduler: Callable[..., LRScheduler]) -> bool:
    target = scheduler.func if isinstance(scheduler, partial) else scheduler
    return "total_steps" in inspect.signature(target).parameters


def _gather(own: list[np.ndarray]) -> list[np.ndarray]:
    """The arrays of all ranks, joined along the first axis."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return own
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, own)
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
