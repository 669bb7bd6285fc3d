"""A callback that kills its own process, the way a kernel or a cluster does."""

import os
import signal
import subprocess
import time

import pytorch_lightning as pl


class Killer(pl.Callback):
    """In the middle of the epoch that ``KILL`` names (``train:2``), on rank ``KILL_RANK``.

    With ``KILL_BY=error`` or ``full`` an exception is raised instead, with ``wait`` nothing happens for
    long, and with ``requeue`` SLURM is told to begin the job again, once.
    """

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: object) -> None:
        stage = "finetune" if module.prefix else "train"
        if os.environ.get("KILL") != f"{stage}:{trainer.current_epoch + 1}":
            return
        if trainer.global_rank != int(os.environ.get("KILL_RANK", "0")):
            return
        how = os.environ.get("KILL_BY", "signal")
        if how == "error":
            raise RuntimeError("on purpose")
        if how == "full":
            raise OSError(28, "No space left on device", "somewhere")
        if how == "requeue":
            if "SLURM_RESTART_COUNT" in os.environ:  # this is the second attempt
                return
            # The bare id of an array's last job stands for all of them.
            name = "_".join(os.environ[f"SLURM_ARRAY_{part}_ID"] for part in ("JOB", "TASK"))
            subprocess.run(["scontrol", "requeue", name], check=True)
        if how in ("wait", "requeue"):
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)
