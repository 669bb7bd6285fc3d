"""A callback that measures the first step, the time per slice and the memory of a run."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

STARTED, MARK = "KITSSEG_STARTED", "PROBE "


def anonymous_memory_mb() -> float:
    """Return the resident memory of this process without mapped files, in MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1000


class Probe(pl.Callback):
    """Print one line of JSON at the end of training.

    ``first``: seconds from the time in the variable STARTED to the end of the first step;
    ``slice``: seconds per slice in the later steps; ``memory``: see `anonymous_memory_mb`.
    """

    def __init__(self) -> None:
        self.first, self.first_end, self.last_end = 0.0, 0.0, 0.0
        self.slices = 0

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        now = time.perf_counter()
        if index == 0:
            self.first, self.first_end = time.time() - float(os.environ[STARTED]), now
            return
        self.slices += len(batch["image"]) * trainer.world_size
        self.last_end = now

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        if trainer.global_rank == 0:
            values = {
                "first": self.first,
                "slice": (self.last_end - self.first_end) / self.slices,
                "memory": anonymous_memory_mb(),
            }
            print(MARK + json.dumps(values), flush=True)
