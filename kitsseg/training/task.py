"""The LightningModule: training steps, validation per case, optimizer and scheduler."""

import copy
import inspect
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from kitsseg.data.labels import KITS19, Labels
from kitsseg.evaluation.metrics import dice, mean_over_cases
from kitsseg.inference.checkpoint import header, load
from kitsseg.models.window import AutoWindow, Window
from kitsseg.system import distributed
from kitsseg.training.losses import Loss, SorensenDice, check_loss
from kitsseg.training.pixel_counts import region_counts

PAPER_ADAM = partial(Adam, lr=1e-3)
KITS_WINDOW = {"low_hu": -79, "high_hu": 304, "mean_hu": 101, "sd_hu": 76.9}

log = logging.getLogger("kitsseg")


def fit_window(window: Window, data: Any) -> Window:
    """Return ``window``, or a fitted copy if it is an `AutoWindow` that is not fitted yet.

    ``data`` is a `SliceDataModule` after `setup`. Only its training cases are used.
    """
    if not isinstance(window, AutoWindow) or window.is_fitted:
        return window
    fitted = copy.deepcopy(window).fit(*data.store.foreground_hu(data.split.train))
    values = ", ".join(f"{name}={value:.6g}" for name, value in fitted.settings().items())
    log.info(f"window of the foreground of {len(data.split.train)} training cases: {values}")
    return fitted


class SegmentationTask(pl.LightningModule):
    """Train ``net`` on batches of HU slices.

    A batch is a `kitsseg.data.slices.dataset.Batch`. The task logs ``train/loss``, ``val/loss`` and
    ``val/<region>_dice``. Validation loss and Dice are computed per case over all of its slices, then
    averaged over cases, so they do not depend on the batch size or on the number of ranks.

    Callbacks receive the metrics under these names in every stage. Loggers receive them with ``prefix``.

    Args:
        net: maps images ``[B, K, H, W]`` to logits ``[B, C, H, W]``, or in 3D ``[B, 1, D, H, W]`` to
            ``[B, C, D, H, W]``.
        loss: see `kitsseg.training.losses.Loss`; by default the paper's.
        window: maps HU to the input of the network; by default the one of ``conf/window/kits.yaml``. An
            `AutoWindow` is fitted when the Trainer has set up the data.
        optimizer: called with the parameters of network and loss that are not frozen; by default Adam
            with the paper's rate.
        scheduler: called with the optimizer; by default `ReduceLROnPlateau`, which follows ``val/loss``.
            A scheduler with an argument ``total_steps`` is stepped after every batch, any other one
            after every epoch. For another interval or monitor, override `configure_optimizers`.
        frozen: names of submodules of ``net`` that stay in evaluation mode, so that their batch norms
            keep their statistics (see `kitsseg.training.finetune`).
        prefix: prefix of the metric names in loggers.
        header: plain values that make the checkpoint self-contained, see
            `kitsseg.inference.checkpoint.header`. By default, they are taken from the network and the
            data module. For other networks than kitsseg's, `Segmenter.load` requires it.
        labels: classes and scored regions.

    Raises:
        ValueError: the loss is not a `Loss`.
    """

    def __init__(
        self,
        net: nn.Module,
        loss: Loss | None = None,
        window: Window | None = None,
        optimizer: Callable[..., Optimizer] = PAPER_ADAM,
        scheduler: Callable[..., LRScheduler] = ReduceLROnPlateau,
        frozen: Sequence[str] = (),
        prefix: str = "",
        header: dict[str, Any] | None = None,
        labels: Labels = KITS19,
    ) -> None:
        super().__init__()
        self.net = net
        self.loss = SorensenDice() if loss is None else loss
        check_loss(self.loss, len(labels.classes))
        self.window = Window(**KITS_WINDOW) if window is None else window
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.frozen, self.prefix, self.header = tuple(frozen), prefix, header
        self.labels = labels
        self.case_metrics: dict[str, Any] = {}  # metrics of the latest validation: `case`, logged names
        self._outputs: list[tuple[Tensor, ...]] = []
        self._validated = False  # in this epoch
        # Lightning does not call train() when fitting starts.
        self.train()

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if hasattr(data, "store"):
            self.window = fit_window(self.window, data)

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
        self._log({"train/loss": loss}, on_epoch=True, batch_size=len(batch["image"]), sync_dist=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        logits, label = self(batch["image"]).float(), batch["label"]
        with torch.autocast(logits.device.type, enabled=False):  # as in training
            terms = self.loss.terms(logits, label).double()
        counts = region_counts(logits.argmax(1), label, self.labels)
        self._outputs.append((batch["row"], batch["case"], terms, counts))

    def on_validation_epoch_start(self) -> None:
        self._outputs.clear()  # left by an interrupted validation

    def on_validation_epoch_end(self) -> None:
        own = [torch.cat(parts).cpu().numpy() for parts in zip(*self._outputs, strict=True)]
        self._outputs.clear()
        gathered = zip(*distributed.of_all_ranks(own), strict=True)
        rows, cases, terms, counts = map(np.concatenate, gathered)
        # Sort by row, so that the order of summation does not depend on the number of ranks. A rank
        # without a batch repeats one, so duplicate rows are removed.
        order = np.unique(rows, return_index=True)[1]
        cases, terms, counts = cases[order], terms[order], counts[order]
        numbers = np.unique(cases)
        groups = [cases == number for number in numbers]
        losses = [self.loss.reduce(torch.from_numpy(terms[g].sum(0))).item() for g in groups]
        scores = dice(np.stack([counts[g].sum(0) for g in groups]))
        logged = {"val/loss": float(np.mean(losses))}
        if not math.isfinite(logged["val/loss"]):
            raise ValueError(
                f"val/loss is {logged['val/loss']} after epoch {self.current_epoch + 1}; try a "
                "smaller optimizer.lr, trainer.gradient_clip_val=1 or trainer.precision=32-true"
            )
        by_region = {f"val/{region}_dice": scores[:, i] for i, region in enumerate(self.labels.regions)}
        logged |= {name: mean_over_cases(values) for name, values in by_region.items()}
        self.case_metrics = {"case": numbers, "val/loss": losses, **by_region}
        self._log(logged)
        if not self.trainer.sanity_checking:
            self._validated = True

    test_step = validation_step
    on_test_epoch_start, on_test_epoch_end = on_validation_epoch_start, on_validation_epoch_end

    def predict_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """Return the class ids ``[B, H, W]`` of a batch."""
        classes: Tensor = self(batch["image"]).argmax(1).to(torch.uint8)
        return classes

    def _log(self, values: dict[str, Any], **options: Any) -> None:
        """Log values for callbacks, and with the prefix for loggers."""
        self.log_dict(values, on_step=False, logger=False if self.prefix else None, **options)
        if self.prefix:
            self.log_dict({self.prefix + k: v for k, v in values.items()}, on_step=False, **options)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients, also for a fused optimizer, which Lightning rejects in every precision.

        Raises:
            ValueError: a fused optimizer with 16-bit precision, which unscales gradients in its step.
        """
        if not gradient_clip_val:  # Lightning's plugins do not clip at 0 either
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        unscales = getattr(optimizer, "_step_supports_amp_scaling", False)
        if unscales and getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            raise ValueError(
                "trainer.gradient_clip_val: a fused optimizer cannot clip gradients with "
                "trainer.precision=16-mixed; set optimizer.fused=false"
            )
        if gradient_clip_algorithm == "value":  # Lightning passes an enumeration of texts
            nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        else:
            nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def on_train_epoch_end(self) -> None:
        """Step plateau schedules with the interval of an epoch, if it had a validation.

        Lightning would step them after writing the checkpoint of the epoch, so a resumed run would miss
        the step, and would step them with the metric of an earlier epoch.
        """
        validated, self._validated = self._validated, False
        for config in self.trainer.lr_scheduler_configs:
            metric: Any = self.trainer.callback_metrics.get(str(config.monitor))
            is_due = (self.current_epoch + 1) % config.frequency == 0
            is_current = validated or not str(config.monitor).startswith("val/")
            if _waits_for_epoch(config) and is_due and is_current and metric is not None:
                config.scheduler.step(metric)

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        configs = self.trainer.lr_scheduler_configs
        if not any(c.scheduler is scheduler and _waits_for_epoch(c) for c in configs):
            super().lr_scheduler_step(scheduler, metric)

    def configure_optimizers(self) -> Any:
        # A loss may have parameters too, such as learned weights of its parts.
        optimizer = self.make_optimizer(
            [p for part in (self.net, self.loss) for p in part.parameters() if p.requires_grad]
        )
        if _takes_total_steps(self.make_scheduler):
            steps = self.trainer.estimated_stepping_batches
            if math.isinf(steps):
                raise ValueError("scheduler: needs the number of steps; set max_epochs or max_steps")
            scheduler = self.make_scheduler(optimizer, total_steps=int(steps))
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]
        scheduler = self.make_scheduler(optimizer)
        config: dict[str, Any] = {"scheduler": scheduler, "interval": "epoch"}
        if isinstance(scheduler, ReduceLROnPlateau):
            if scheduler.mode != "min":
                raise ValueError(
                    f"scheduler.mode={scheduler.mode}: would reduce the rate while val/loss improves; "
                    "set scheduler.mode=min"
                )
            config["monitor"], config["strict"] = "val/loss", False  # an epoch may have no validation
            config["frequency"] = self.trainer.check_val_every_n_epoch or 1
        return [optimizer], [config]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["kitsseg"] = self._describe() if self.header is None else self.header

    def _describe(self) -> dict[str, Any] | None:
        """Return the header for one of kitsseg's networks in a plain script; None for others."""
        settings = getattr(self.net, "settings", None)
        data: Any = getattr(self.trainer, "datamodule", None)
        if settings is None or not hasattr(data, "inputs"):
            return None
        network = {"_target_": f"{type(self.net).__module__}.{type(self.net).__name__}", **settings}
        return header(network, self.window, provenance={}, labels=self.labels, **data.inputs())

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        trusted: Sequence[str] = (),
        **options: Any,
    ) -> "SegmentationTask":
        """Return a task with the network and the window of a checkpoint.

        Args:
            checkpoint_path: file written by ``kitsseg.train`` or by a plain `Trainer`.
            map_location: device of the network; by default the CPU.
            trusted: dotted paths of further network classes that the checkpoint may build.
            options: further arguments of the class, such as ``loss``.

        Raises:
            ValueError: the file is damaged or does not describe its network.
        """
        loaded = load(Path(checkpoint_path), trusted)
        task = cls(
            loaded.net.requires_grad_(True), window=loaded.window, labels=loaded.labels, **options
        )
        return task if map_location is None else task.to(map_location)


def _waits_for_epoch(config: Any) -> bool:
    return bool(config.reduce_on_plateau and config.interval == "epoch")


def _takes_total_steps(scheduler: Callable[..., LRScheduler]) -> bool:
    target = scheduler.func if isinstance(scheduler, partial) else scheduler
    return "total_steps" in inspect.signature(target).parameters
