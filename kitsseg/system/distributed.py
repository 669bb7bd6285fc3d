"""The ranks of a job: the processes that compute it together, one per device."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from kitsseg.system import gpus

Value = TypeVar("Value")


def rank() -> int:
    """Return this process's rank, from 0."""
    # Outside of an srun step, SLURM_PROCID is the rank of the batch script.
    by_srun = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0") if by_srun else "0"))


def world_size() -> int:
    """Return the number of ranks, as torchrun, srun or `kitsseg.jobs.launch` started them."""
    return int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_STEP_NUM_TASKS", "1")))


def uses_gpus(trainer: Mapping[str, Any]) -> bool:
    """Whether a ``trainer`` section asks for NVIDIA GPUs and this machine has any."""
    return trainer.get("accelerator") in ("auto", "gpu", "cuda") and bool(gpus.visible())


def cluster_environment() -> Any:
    """Return the Lightning plugin from which a Trainer gets its rank."""
    from pytorch_lightning.plugins import environments

    if world_size() == 1:
        return environments.LightningEnvironment()  # also within a job of SLURM
    if "RANK" in os.environ:
        return environments.TorchElasticEnvironment()
    return environments.SLURMEnvironment(auto_requeue=False)  # submitit requeues


def of_all_ranks(own: Value) -> list[Value]:
    """Return the objects ``own`` of all ranks."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, own)
    return parts


def gather(own: Mapping[str, Value], order: Sequence[str]) -> dict[str, Value]:
    """Merge the dicts ``own`` of all ranks. Every rank gets all entries, in ``order``."""
    merged = {name: value for part in of_all_ranks(dict(own)) for name, value in part.items()}
    return {name: merged[name] for name in order}


def shut_down() -> None:
    """End the process group; without it, a rank can abort when the interpreter exits."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
