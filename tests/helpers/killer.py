"""A callback that kills its own process, as the kernel or a cluster would."""

import os
import signal
import subprocess
import time

import pytorch_lightning as pl

SLURMS = {"requeue": ("scontrol", "requeue"), "preempt": ("scancel", "--signal=USR2")}


class Killer(pl.Callback):
    """Kill rank ``KILL_RANK`` (-1: the last) within the epoch ``KILL``, such as ``train:2``.

    ``KILL_BY`` selects another action. ``error`` and ``full`` raise an exception, ``wait`` sleeps, and
    ``parent`` kills the parent process. In the first attempt of a SLURM job, ``requeue`` requeues it and
    ``preempt`` sends the signal that precedes preemption. ``preempt,requeue`` selects the first action
    for jobs with one rank, the second for jobs with two.
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
            if "SLURM_ARRAY_JOB_ID" in os.environ:  # SLURM_JOB_ID does not identify the task of an array
                name = "_".join(os.environ[f"SLURM_ARRAY_{part}_ID"] for part in ("JOB", "TASK"))
            subprocess.run([*SLURMS[how], name], check=True)
        if how == "parent":
            os.kill(os.getppid(), signal.SIGKILL)
        if how in ("wait", "parent") or how in SLURMS:
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)
