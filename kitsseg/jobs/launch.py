"""Start the processes of a job, one per device, monitor them, and end them together.

Each process runs ``python -m kitsseg.train`` and reads the job from a file that an environment variable
names. So no rank parses a command line or starts a sweep, and a killed job does not end the sweep.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from kitsseg.jobs import failures
from kitsseg.system import distributed, gpus, signals
from kitsseg.system.files import write_text

VARIABLE = "KITSSEG_JOB"  # environment variable with the path of the job's file
OWNER = "KITSSEG_SWEEP"  # `process_id` of the command that runs the sweep
JOB = ".task.yaml"  # keys of JSON are texts, but a GradientAccumulationScheduler needs numbers
POLL_S = 0.2
# After the first failure, the other ranks are killed after this time, in which they store theirs.
GRACE_S = 3.0
# By default, glibc returns the memory of large tensors to the kernel after each step. Keeping it, in
# pages of 2 MB, makes a training step on CPUs about 10 % faster (benchmarks/memory.py).
GLIBC_TUNABLES = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:"
    f"glibc.malloc.trim_threshold={1 << 40}:glibc.malloc.top_pad={1 << 28}"
)


def process_id() -> str:
    """Return an id of this process that is unique across machines."""
    return f"{socket.gethostname()}-{os.getpid()}"


def command_id() -> str:
    """Return the `process_id` of the command for which this process runs a job."""
    return os.environ.get(OWNER, process_id())


def requested_ranks(trainer: Mapping[str, Any]) -> int:
    """Return the number of processes that a ``trainer`` section requests on this machine.

    Raises:
        ValueError: the number is below 1.
    """
    devices = trainer.get("devices", "auto")
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        return len(devices)
    text = str(devices)
    if text in ("auto", "-1"):
        return gpus.count() if distributed.uses_gpus(trainer) else 1
    listed = [name for name in text.split(",") if name.strip()]
    ranks = len(listed) if "," in text else int(text) if text.isdigit() else 0
    if ranks < 1:
        raise ValueError(f"trainer.devices={devices}: must be at least 1, or -1 for all")
    return ranks


def check_ranks(requested: int) -> None:
    """Raise `ValueError` if torchrun or srun started another number of processes than ``requested``."""
    if (started := distributed.world_size()) not in (1, requested):
        raise ValueError(
            f"{started} processes were started, but trainer.devices and trainer.num_nodes ask for "
            f"{requested}; set trainer.devices to the processes per node"
        )


def start_job(folder: Path, job: dict[str, Any], ranks: int) -> None:
    """Compute a job in ``ranks`` processes and wait for them. On GPUs, reserve one GPU per rank.

    ``job`` is passed to the ranks in a file; ``job["config"]`` is the configuration.

    Raises:
        JobFailedError: a process failed; all others have been ended.
    """
    path = folder / JOB
    write_text(path, OmegaConf.to_yaml({**job, "parent": os.getpid()}))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with _devices(job["config"]["trainer"], ranks) as env, socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", 0))  # reserves a free port until the block ends
            port = probe.getsockname()[1]
            for rank in range(ranks):
                processes.append(_start_rank(path, {**env, **_rank_variables(rank, ranks, port)}, ranks))
            _watch(processes, folder)
    finally:
        for process in processes:
            _kill(process)
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _start_rank(job: Path, env: Mapping[str, str], ranks: int) -> "subprocess.Popen[bytes]":
    defaults = {"GLIBC_TUNABLES": GLIBC_TUNABLES} if "CUDA_VISIBLE_DEVICES" not in env else {}
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-m", "kitsseg.train"],
        env={**defaults, **os.environ, **env, "PYTHONPATH": path, VARIABLE: str(job.absolute())},
        # A debugger needs the terminal. Only a job with one process can use it.
        stdin=None if ranks == 1 else subprocess.DEVNULL,
        # In its own process group, one signal ends a rank with its loader processes, and an interrupt
        # from the terminal reaches only this process.
        start_new_session=True,
    )


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and its child processes."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def _devices(trainer: Mapping[str, Any], number: int) -> Iterator[dict[str, str]]:
    """Reserve GPUs, unless the user chose them, and yield ``CUDA_VISIBLE_DEVICES``."""
    devices = trainer.get("devices", "auto")
    chosen = isinstance(devices, list) or "," in str(devices)
    if chosen or not distributed.uses_gpus(trainer):
        yield {}
        return
    with gpus.reserved(number, gpus.visible()) as names:
        yield {"CUDA_VISIBLE_DEVICES": ",".join(names)}


def _rank_variables(rank: int, ranks: int, port: int) -> dict[str, str]:
    """Return the variables that torchrun sets; empty if there is only one rank."""
    if ranks == 1:
        return {}
    env = {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0",
        "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "kitsseg",
    }  # fmt: skip
    if "OMP_NUM_THREADS" not in os.environ:
        env["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // ranks))
    return env


def _watch(processes: "list[subprocess.Popen[bytes]]", folder: Path) -> None:
    """Return when all processes have succeeded; raise soon after one has failed.

    In a process of a Hydra launcher, exit when the command that runs the sweep has ended.
    """
    failed, parent = None, os.getppid()
    in_launcher = command_id() != process_id()
    while any(process.poll() is None for process in processes):
        if in_launcher and os.getppid() != parent:
            raise SystemExit(1)
        if any(process.returncode for process in processes):
            failed = time.monotonic() if failed is None else failed
            if time.monotonic() - failed > GRACE_S:
                break
        time.sleep(POLL_S)
    codes = {rank: process.returncode for rank, process in enumerate(processes) if process.returncode}
    # Report a killed rank first: the other ranks fail because of it.
    for rank, code in sorted(codes.items(), key=lambda item: item[1] > 0):
        name = "its process" if len(processes) == 1 else f"rank {rank}"
        if code < 0:
            raise failures.JobFailedError(failures.killed(-code, name))
        default = failures.Failure(f"{name} ended with exit code {code}; see its log", True, "")
        if code in failures.DISK_FULL:  # the rank could not store its failure
            default = failures.describe(OSError(code, os.strerror(code), str(folder)))
        raise failures.JobFailedError(failures.first_failure(folder, default))


def run_rank(work: Callable[[dict[str, Any]], None]) -> bool:
    """Call ``work`` with the job of this process; return False if `start_job` did not start it.

    If the work fails, the reason is stored and the process exits immediately.
    """
    if (name := os.environ.pop(VARIABLE, None)) is None:  # child processes must not inherit it
        return False
    path = Path(name)
    signals.ignore_cluster_signals()
    job: Any = OmegaConf.to_container(OmegaConf.load(path))
    threading.Thread(target=_end_with, args=[job["parent"]], daemon=True).start()
    try:
        work(job)
    except Exception as error:
        code = 1
        try:
            failures.store_failure(path.parent, failures.describe(error))
        except OSError as disk:
            code = disk.errno if disk.errno in failures.DISK_FULL else 1
        sys.stdout.flush()
        os._exit(code)  # clean-up could block: libraries may wait for other ranks
    return True


def _end_with(parent: int) -> None:
    """Kill this process and its child processes when its parent process ends."""
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os.killpg(0, signal.SIGKILL)
