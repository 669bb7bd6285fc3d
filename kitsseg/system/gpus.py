"""GPUs of this machine, shared out among the jobs of a sweep: each has its own while it runs."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import filelock

from kitsseg.system import drivers

POLL_S = 0.5


def visible() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if not drivers.there():
        return []
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return [str(i) for i in range(count)] if named is None else named.split(",")[:count]


def count() -> int:
    """How many there are; 1 without any, since something must compute."""
    return max(1, len(visible()))


@contextmanager
def reserved(wanted: int, names: list[str], locks: Path | None = None) -> Iterator[list[str]]:
    """``wanted`` of the GPUs ``names`` that no other job has; waits for them. They are free at the end.

    Args:
        locks: folder of the lock files; by default one of this user's in the system's temporary one.

    Raises:
        ValueError: there aren't as many.
    """
    if wanted > len(names):
        raise ValueError(f"trainer.devices={wanted}: this machine has {len(names)} GPUs to use")
    if locks is None:
        locks = Path(tempfile.gettempdir()) / f"kitsseg-gpus-{os.getuid()}"
    locks.mkdir(exist_ok=True)
    while True:
        with ExitStack() as stack:
            taken = []
            for name in names:
                lock = filelock.FileLock(locks / f"{name}.lock", timeout=0)
                try:
                    stack.enter_context(lock)
                except filelock.Timeout:
                    continue
                taken.append(name)
                if len(taken) == wanted:
                    yield taken
                    return
        time.sleep(POLL_S)  # all are given back first: two that wait for each other would wait for ever
