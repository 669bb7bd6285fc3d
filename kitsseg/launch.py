"""A job in processes of its own, one a device: started, watched, and ended together.

Each is ``python -m kitsseg.train`` again, told by its environment which job it computes, so that none
parses a command line or enters a sweep. What kills one, even the kernel, leaves the sweep alive.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kitsseg import failures, gpus, ranks, signals
from kitsseg.files import write_json

VARIABLE = "KITSSEG_JOB"
OWNER = "KITSSEG_SWEEP"  # the process number of the command
TASK = ".task.json"
POLL_S = 0.2
# After the first failure: time for the others to say theirs, then they are killed.
GRACE_S = 3.0


def start(folder: Path, task: Mapping[str, Any], count: int) -> None:
    """Compute a job in ``count`` processes and wait for them.

    Where it asks for a number of GPUs, it gets as many that no other job of a sweep has.

    Raises:
        JobFailedError: one failed; then all have ended.
    """
    write_json(folder / TASK, dict(task))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with _devices(task["config"]["trainer"], count) as env:
            with _free_port() as port:
                for rank in range(count):
                    processes.append(_start_one(folder, env | _about(rank, count, port)))
            _watch(processes, folder)
    finally:
        for process in processes:
            _kill(process)
        with suppress(OSError):
            (folder / TASK).unlink(missing_ok=True)


@contextmanager
def _devices(trainer: Mapping[str, Any], count: int) -> Iterator[dict[str, str]]:
    """What the environment says of the GPUs to use; empty if SLURM or the command chose them."""
    chosen = isinstance(trainer["devices"], list) or "," in str(trainer["devices"])
    if chosen or "SLURM_JOB_ID" in os.environ or not ranks.uses_gpus(trainer):
        yield {}
        return
    with gpus.reserved(count, gpus.visible()) as names:
        yield {"CUDA_VISIBLE_DEVICES": ",".join(names)}


def _about(rank: int, count: int, port: int) -> dict[str, str]:
    """What torchrun would say in the environment; nothing to a job's only process."""
    if count == 1:
        return {}
    env = {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0",
        "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "kitsseg",
    }  # fmt: skip
    if "OMP_NUM_THREADS" not in os.environ:
        env["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // count))
    return env


def _start_one(folder: Path, about: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    path = os.pathsep.join(filter(None, sys.path))
    env = {**os.environ, **about, VARIABLE: str(folder / TASK), "PYTHONPATH": path}
    # A session of its own: one signal ends a rank with its loaders' processes, and an interrupt from
    # the terminal reaches this process alone. Its end is seen through the pipe.
    return subprocess.Popen(
        [sys.executable, "-m", "kitsseg.train"], env=env, stdin=subprocess.PIPE, start_new_session=True
    )


def _watch(processes: "list[subprocess.Popen[bytes]]", folder: Path) -> None:
    """Return when all have ended well; raise soon after one hasn't.

    Where this is a launcher's process, started by the command, the end of that ends all of them.
    """
    failed, parent = None, os.getppid()
    apart = os.environ.get(OWNER, str(os.getpid())) != str(os.getpid())
    while any(process.poll() is None for process in processes):
        if apart and os.getppid() != parent:
            raise SystemExit(1)
        if any(process.returncode for process in processes):
            failed = time.monotonic() if failed is None else failed
            if time.monotonic() - failed > GRACE_S:
                break
        time.sleep(POLL_S)
    ended = {rank: process.returncode for rank, process in enumerate(processes) if process.returncode}
    # What one was killed by comes first: the others only say that they miss it.
    for rank, code in sorted(ended.items(), key=lambda each: each[1] > 0):
        who = "its process" if len(processes) == 1 else f"rank {rank}"
        if code < 0:
            raise failures.JobFailedError(failures.killed(-code, who))
        own = failures.Failure(f"{who} ended with exit code {code}; its log says more", True, "")
        if code in failures.FULL:  # so full that it couldn't say so
            own = failures.describe(OSError(code, os.strerror(code), str(folder)))
        raise failures.JobFailedError(ranks.first_failure(folder, own))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End a process with all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


@contextmanager
def _free_port() -> Iterator[int]:
    """A port that nobody listens at; held until the block ends."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def given() -> Path | None:
    """The job that this process was started for; taken out of the environment, for its own children."""
    path = os.environ.pop(VARIABLE, None)
    return Path(path) if path is not None else None


def compute(path: Path, work: Callable[[dict[str, Any]], None]) -> None:
    """As one process of a job: do its work, or say why that failed, and exit."""
    signals.ignore()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(json.loads(path.read_text()))
    except Exception as error:
        code = 1
        try:
            ranks.leave_failure(path.parent, failures.describe(error))
        except OSError as disk:
            code = disk.errno if disk.errno in failures.FULL else 1
        sys.stdout.flush()
        os._exit(code)  # at once: others may wait for this rank, and libraries for them


def _end_with_parent() -> None:
    """End when the process above has ended, however that came about: then the pipe from it closes."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    os.killpg(0, signal.SIGKILL)
