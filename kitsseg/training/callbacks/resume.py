"""Callbacks and checkpoint writing that make a resumed run bit-identical to an uninterrupted one."""

import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from pytorch_lightning.plugins.io import TorchCheckpointIO

from kitsseg.system.files import replacing


class SeedSteps(pl.Callback):
    """Seed torch's global generator (used by dropout) before every step.

    The seed is computed from run, stage, epoch, step and rank, so checkpoints need no generator state.
    It is set per step, not per epoch, because starting a loader also draws from the generator.
    """

    def __init__(self, seed: int, stage: str) -> None:
        self.seed, self.stage = seed, zlib.crc32(stage.encode())

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_index: int
    ) -> None:
        entropy = [self.seed, self.stage, trainer.current_epoch, batch_index, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]) >> 1)


class KeepStopped(pl.Callback):
    """Do not resume a stage that a callback such as EarlyStopping ended before the interruption.

    Lightning's checkpoints do not store this, so a resumed run would train one more epoch.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.is_other_run = False  # whether the checkpoint is of another run, which this one continues

    def on_save_checkpoint(
        self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["stopped"] = bool(trainer.should_stop)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.stopped = checkpoint.get("stopped", False) and not self.is_other_run

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.stopped


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints atomically and flush them to disk, in case the power fails.

    Lightning writes to the temporary directory, which is often on another disk, and copies the file.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        # `torch.load` refuses numpy scalars, such as the rates of a schedule that uses numpy.
        state = {"state_dict": checkpoint.pop("state_dict")}
        checkpoint = {**apply_to_collection(checkpoint, np.generic, np.generic.item), **state}
        check_states(checkpoint.get("callbacks", {}))
        content = io.BytesIO()
        torch.save(checkpoint, content)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary, temporary.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())


def check_states(states: dict[str, Any]) -> None:
    """Raise `ValueError` for a callback with a state that `torch.load` refuses."""
    for name, state in states.items():
        content = io.BytesIO()
        try:
            torch.save(state, content)
            content.seek(0)
            torch.load(content, weights_only=True)
        except Exception as error:  # objects raise arbitrary errors when they are pickled
            raise ValueError(
                f"the state_dict of the callback {name} holds objects that checkpoints cannot hold; it "
                "may hold tensors, numbers, texts, lists and dicts"
            ) from error
