"""A callback that says when a run's first step was done, what an epoch took, and how much memory."""

import json
import os
import resource
import time
from typing import Any

import pytorch_lightning as pl

STARTED, MARK = "KITSSEG_STARTED", "PROBE "


class Probe(pl.Callback):
    """Prints a line of JSON after the first epoch: ``first`` (seconds from what the variable STARTED says
    to the end of the first step), ``slice`` (seconds, over the later steps), ``memory`` (MB)."""

    def __init__(self) -> None:
        self.first, self.slices, self.begun = 0.0, 0, 0.0
        self.last = 0.0

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        now = time.perf_counter()
        if index == 0:
            self.first, self.begun = time.time() - float(os.environ[STARTED]), now
            return
        self.slices += len(batch["image"]) * trainer.world_size
        self.last = now

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        if trainer.global_rank == 0:
            found = {
                "first": self.first,
                "slice": (self.last - self.begun) / self.slices,
                "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
            }
            print(MARK + json.dumps(found), flush=True)
