"""The processes that compute one job together: which of them this is, and what they share."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from kitsseg.system import gpus

Value = TypeVar("Value")


def rank() -> int:
    """This process's number in its job, from 0; alone it is 0."""
    return int(os.environ["RANK"]) if "RANK" in os.environ else _slurm("SLURM_PROCID", 0)


def count() -> int:
    """How many processes compute the job, as torchrun, SLURM's srun or `kitsseg.jobs.launch` started them."""
    return (
        int(os.environ["WORLD_SIZE"])
        if "WORLD_SIZE" in os.environ
        else _slurm("SLURM_STEP_NUM_TASKS", 1)
    )


def _slurm(name: str, alone: int) -> int:
    """A number of srun's; a batch script's own process has none of several tasks."""
    several = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    return int(os.environ[name]) if several else alone


def wanted(trainer: Mapping[str, Any]) -> int:
    """How many processes a ``trainer`` section asks for on this machine."""
    devices = trainer.get("devices", 1)
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        return len(devices)
    text = str(devices)
    if text in ("auto", "-1"):
        return gpus.count() if uses_gpus(trainer) else 1
    return len(text.split(",")) if "," in text else int(text)


def uses_gpus(trainer: Mapping[str, Any]) -> bool:
    """Whether a ``trainer`` section asks for NVIDIA GPUs, and there are some."""
    return trainer.get("accelerator") in ("auto", "gpu", "cuda") and bool(gpus.visible())


def plugins() -> list[Any]:
    """What tells a Trainer which of the processes it is in."""
    from pytorch_lightning.plugins.environments import (
        LightningEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )

    if count() == 1:
        return [LightningEnvironment()]  # also within a job of SLURM's
    if "RANK" in os.environ:
        return [TorchElasticEnvironment()]
    return [SLURMEnvironment(auto_requeue=False)]  # submitit requeues


def gather(own: Mapping[str, Value], order: Sequence[str]) -> dict[str, Value]:
    """What all ranks have together, by name, in ``order``; on all of them."""
    import torch

    parts: list[Any] = [dict(own)]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, dict(own))
    together = {name: value for part in parts for name, value in part.items()}
    return {name: together[name] for name in order}
