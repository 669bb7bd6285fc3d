"""The GPUs of this machine, reserved by the jobs of a sweep so that no two jobs share one."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import filelock

POLL_S = 0.5


def visible() -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count()
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(i) for i in range(count)] if names is None else names.split(",")[:count]


def count() -> int:
    """Return the number of GPUs, or 1 on a machine without any."""
    return max(1, len(visible()))


@contextmanager
def reserved(number: int, names: list[str]) -> Iterator[list[str]]:
    """Reserve ``number`` of the named GPUs by lock files; wait until enough are free."""
    if number > len(names):
        lack = f"this machine has {len(names)} GPUs to use"
        raise ValueError(f"trainer.devices={number}: {lack}; set at most {len(names)}")
    # SLURM jobs on one machine may give different GPUs the same name.
    job = os.environ.get("SLURM_JOB_ID", "")
    locks = Path(tempfile.gettempdir()) / f"kitsseg-gpus-{os.getuid()}{job and '-'}{job}"
    locks.mkdir(exist_ok=True)
    while True:
        with ExitStack() as stack:
            taken: list[str] = []
            for name in names:
                with suppress(filelock.Timeout):
                    stack.enter_context(filelock.FileLock(locks / f"{name}.lock", timeout=0))
                    taken.append(name)
                if len(taken) == number:
                    yield taken
                    return
        time.sleep(POLL_S)  # after releasing all, because two jobs that each hold some would deadlock
