"""What lets a run that was cut off go on as if nothing had happened."""

import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from kitsseg.system.files import replacing


class StepSeed(pl.Callback):
    """Begins torch's global stream (dropout) anew with each step, from all that names it.

    So no state of it needs to be kept: all else that is random is drawn like that already. By steps,
    not epochs, since a loader's start draws from it, too, at another time when a run goes on.
    """

    def __init__(self, seed: int, stage: str) -> None:
        self.seed, self.stage = seed, zlib.crc32(stage.encode())

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_index: int
    ) -> None:
        about = [self.seed, self.stage, trainer.current_epoch, batch_index, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(about).generate_state(1, np.uint64)[0]) >> 1)


class Stopped(pl.Callback):
    """A stage that a callback such as EarlyStopping has ended stays so in a run that goes on.

    Lightning would train one epoch more: that it was to end is in no checkpoint.
    """

    def __init__(self) -> None:
        self.stopped = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["stopped"] = bool(trainer.should_stop)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.stopped = checkpoint.get("stopped", False)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.stopped


class WholeFiles(TorchCheckpointIO):
    """Checkpoints appear whole or not at all, also when the power fails.

    Lightning's own way goes through the system's temporary folder, often on another disk, from which
    it copies.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary, temporary.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
