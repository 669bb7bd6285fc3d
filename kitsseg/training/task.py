"""The LightningModule: training steps, validation per case, optimizer and scheduler."""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
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
    """Train ``net`` on batches of HU slices.

    A batch is a `kitsseg.data.slices.dataset.Batch`. The task logs ``train/loss``, ``val/loss`` and
    ``val/<region>_dice``. Validation loss and Dice are computed per case over all of its slices, then
    averaged over cases, so they do not depend on the batch size or on the number of ranks.

    Args:
        net: maps images ``[B, K, H, W]`` to logits ``[B, C, H, W]``.
        loss: see `kitsseg.training.losses.Loss`.
        window: maps HU to the input of the network.
        optimizer: called with the parameters that are not frozen.
        scheduler: called with the optimizer. A scheduler with an argument ``total_steps`` is stepped
            after every batch, any other one after every epoch.
        frozen: names of submodules of ``net`` that stay in evaluation mode, so that their batch norms
            keep their statistics (see `kitsseg.training.finetune`).
        prefix: prefix of the logged names.
        header: plain values that make the checkpoint self-contained, see
            `kitsseg.inference.checkpoint.header`. Without it, `Segmenter.load` refuses the checkpoint.
    """

    def __init__(
        self,
        net: nn.Module,
        loss: Loss,
        window: Window,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler],
        frozen: Sequence[str] = (),
        prefix: str = "",
        header: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.net, self.loss, self.window = net, loss, window
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.frozen, self.prefix, self.header = tuple(frozen), prefix, header
        self._outputs: list[tuple[Tensor, ...]] = []
        self._validation_loss: float | None = None
        # Lightning restores the mode in which it found each module.
        self.train()

    def forward(self, image_hu: Tensor) -> Tensor:
        """Map HU ``[B, K, H, W]`` to logits ``[B, C, H, W]``."""
        logits: Tensor = self.net(self.window(image_hu))
        return logits

    def train(self, mode: bool = True) -> "SegmentationTask":
        super().train(mode)
        for name in self.frozen:
            self.net.get_submodule(name).eval()
        return self

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        loss: Tensor = self.loss(self(batch["image"]), batch["label"])
        self.log(
            f"{self.prefix}train/loss", loss, on_step=False, on_epoch=True,
            batch_size=len(batch["image"]), sync_dist=True,
        )  # fmt: skip
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        logits, label = self(batch["image"]).float(), batch["label"]
        terms = self.loss.terms(logits, label).double()
        counts = region_counts(logits.argmax(1), label)
        self._outputs.append((batch["row"], batch["case"], terms, counts))

    def on_validation_epoch_end(self) -> None:
        own = [torch.cat(parts).cpu().numpy() for parts in zip(*self._outputs, strict=True)]
        self._outputs.clear()
        rows, cases, terms, counts = _gather(own)
        # In the order of the store, so that every number of ranks adds in the same order. A rank
        # without a batch of its own repeats one: each row counts once.
        order = np.unique(rows, return_index=True)[1]
        cases, terms, counts = cases[order], terms[order], counts[order]
        groups = [cases == case for case in np.unique(cases)]
        losses = [self.loss.reduce(torch.from_numpy(terms[g].sum(0))).item() for g in groups]
        scores = dice(np.stack([counts[g].sum(0) for g in groups]))
        logged = {"val/loss": float(np.mean(losses))}
        if not math.isfinite(logged["val/loss"]):
            raise ValueError(
                f"val/loss is {logged['val/loss']} after epoch {self.current_epoch + 1}; try a "
                "smaller optimizer.lr, trainer.gradient_clip_val=1 or trainer.precision=32-true"
            )
        for i, region in enumerate(REGIONS):
            logged[f"val/{region}_dice"] = mean_over_cases(scores[:, i])
        self.log_dict({self.prefix + name: value for name, value in logged.items()})
        if not self.trainer.sanity_checking:
            self._validation_loss = logged["val/loss"]

    def on_train_epoch_end(self) -> None:
        """Step a scheduler that is stepped after every epoch.

        Lightning would step it after writing the checkpoint of the epoch, and a resumed run would
        miss that step.
        """
        loss, self._validation_loss = self._validation_loss, None
        config = self.trainer.lr_scheduler_configs[0]
        if config.interval != "epoch":
            return
        if not isinstance(config.scheduler, ReduceLROnPlateau):
            config.scheduler.step()
        elif loss is not None:  # None in an epoch without validation
            config.scheduler.step(loss)

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        if self.trainer.lr_scheduler_configs[0].interval == "step":
            scheduler.step()

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer([p for p in self.net.parameters() if p.requires_grad])
        if _takes_total_steps(self.make_scheduler):
            steps = int(self.trainer.estimated_stepping_batches)
            scheduler = self.make_scheduler(optimizer, total_steps=steps)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]
        scheduler = self.make_scheduler(optimizer)
        config: dict[str, Any] = {"scheduler": scheduler, "interval": "epoch"}
        if isinstance(scheduler, ReduceLROnPlateau):
            config["monitor"] = f"{self.prefix}val/loss"
            config["frequency"] = self.trainer.check_val_every_n_epoch or 1  # when it is available
        return [optimizer], [config]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["kitsseg"] = self.header


def _takes_total_steps(scheduler: Callable[..., LRScheduler]) -> bool:
    target = scheduler.func if isinstance(scheduler, partial) else scheduler
    return "total_steps" in inspect.signature(target).parameters


def _gather(own: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Concatenate the arrays of all ranks along the first axis."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return own
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, own)
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
