"""A callback that says when a run's first step was done, what an epoch took, and how much memory."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

STARTED, MARK = "KITSSEG_STARTED", "PROBE "


def own_memory() -> float:
    """MB, as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1000


class Probe(pl.Callback):
    """Prints a line of JSON at the end.

    ``first``: seconds from the time that the variable STARTED holds to the end of the first step;
    ``slice``: seconds a slice, over the later steps; ``memory``: MB of its own, without mapped files.
    """

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
                "memory": own_memory(),
            }
            print(MARK + json.dumps(found), flush=True)
