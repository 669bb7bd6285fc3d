"""Show the progress of training on the terminal and in the log."""

import logging
import shutil
import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from kitsseg.data.labels import KITS19

MAX_REGIONS = 4  # in a line

log = logging.getLogger("kitsseg")


class EpochLine(pl.Callback):
    """Show a progress bar within each epoch on a terminal, and log one line per epoch.

    The line shows remaining time, loss, validation Dice and loss, learning rate and time per epoch.
    """

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None
        self.start, self.first_epoch, self.lr = 0.0, 0, 0.0
        self.validated = False  # in this epoch

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.start, self.first_epoch = time.monotonic(), trainer.current_epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.validated = False
        if trainer.is_global_zero:
            title = f"epoch {trainer.current_epoch + 1}"
            self.bar = tqdm(total=trainer.num_training_batches, desc=title, leave=False, disable=None)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        self.lr = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if self.bar is not None:
            self.bar.update()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.bar is None:
            return
        self.bar.close()
        self.bar = None
        stage = getattr(module, "prefix", "").strip("/") or "epoch"
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        seconds = (time.monotonic() - self.start) / (done - self.first_epoch)
        parts = [
            f"{stage} {done}/{total}, {clock(seconds * max(0, total - done))} left",
            f"loss {values.get('train/loss', float('nan')):.3f}",
        ]
        if self.validated and "val/loss" in values:
            named = (f"val/{region}_dice" for region in getattr(module, "labels", KITS19).table_regions)
            dice = [f"{n[4:-5]} {values[n]:.3f}" for n in named if n in values][:MAX_REGIONS]
            parts += [", ".join(dice), f"val loss {values['val/loss']:.3f}"]
        parts.append(f"lr {self.lr:.1e}")
        parts.append(f"{seconds:.1f} s per epoch")
        log.info(fit_line(parts))


def fit_line(parts: list[str]) -> str:
    """Join the parts of a line; on a terminal, drop the last ones that do not fit, but keep three."""
    width = shutil.get_terminal_size((999, 0)).columns - len("12:34:56 ")  # 999: not a terminal
    while len(" | ".join(parts)) > width and len(parts) > 3:
        parts = parts[:-1]
    return " | ".join(parts)


def clock(seconds: float) -> str:
    """Format seconds as ``1:15`` or, from an hour on, ``1:01:15``."""
    minutes, seconds_left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds_left:02}" if hours else f"{minutes}:{seconds_left:02}"
