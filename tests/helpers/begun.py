"""A callback that notes when its process and its loaders' server began, and if the command imported."""

import json
import os
import time
from multiprocessing import forkserver
from pathlib import Path

import pytorch_lightning as pl


def since(pid: int) -> float:
    """When a process began, as `time.time` counts."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    up = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - up + int(ticks) / os.sysconf("SC_CLK_TCK")


class Begun(pl.Callback):
    """Leaves ``begun-RANK.json`` in the folder that the command was given in."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        found = {"process": since(os.getpid()), "server": since(server) if server else None}
        found["torch above"] = "libtorch" in Path(f"/proc/{os.getppid()}/maps").read_text()
        Path(f"begun-{trainer.global_rank}.json").write_text(json.dumps(found))
