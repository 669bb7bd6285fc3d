"""A callback that kills its own process, the way a kernel or a cluster does."""

import os
import signal
import subprocess
import time

import pytorch_lightning as pl

SLURMS = {"requeue": ("scontrol", "requeue"), "preempt": ("scancel", "--signal=USR2")}


class Killer(pl.Callback):
    """In the middle of the epoch that ``KILL`` names (``train:2``), on ``KILL_RANK`` (-1: the last).

    With ``KILL_BY=error`` or ``full`` an exception is raised instead, with ``wait`` nothing happens for
    long, with ``parent`` the process that has started this one is killed. With ``requeue`` SLURM is told
    to begin the job again, with ``preempt`` to warn it as it does before it preempts a job, once.
    ``preempt,requeue`` is one for jobs of a rank, one for those of two.
    """

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: object) -> None:
        stage = "finetune" if module.prefix else "train"
        if os.environ.get("KILL") != f"{stage}:{trainer.current_epoch + 1}":
            return
        rank = int(os.environ.get("KILL_RANK", "0"))
        if trainer.global_rank != (rank if rank >= 0 else trainer.world_size + rank):
            return
        hows = os.environ.get("KILL_BY", "signal").split(",")
        how = hows[min(trainer.world_size, len(hows)) - 1]
        if how == "error":
            raise RuntimeError("on purpose")
        if how == "full":
            raise OSError(28, "No space left on device", "somewhere")
        if how in SLURMS:
            if "SLURM_RESTART_COUNT" in os.environ:  # this is the second attempt
                return
            name = os.environ["SLURM_JOB_ID"]
            if "SLURM_ARRAY_JOB_ID" in os.environ:  # whose bare id the last job of an array has
                name = "_".join(os.environ[f"SLURM_ARRAY_{part}_ID"] for part in ("JOB", "TASK"))
            subprocess.run([*SLURMS[how], name], check=True)
        if how == "parent":
            os.kill(os.getppid(), signal.SIGKILL)
        if how in ("wait", "parent") or how in SLURMS:
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)
