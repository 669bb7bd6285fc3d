"""A job in processes of its own, one a device: started, watched, and ended together.

Each is ``python -m kitsseg.train`` again, told through a socket which job it computes, so that none
parses a command line or enters a sweep. What kills one, even the kernel, leaves the sweep alive.
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NamedTuple

from kitsseg.jobs import failures
from kitsseg.system import distributed, gpus, signals
from kitsseg.system.files import write_json

VARIABLE = "KITSSEG_JOB"  # says to a process that it is one of these
OWNER = "KITSSEG_SWEEP"  # the process number of the command
TASK = ".task.json"
POLL_S = 0.2
# After the first failure: time for the others to say theirs, then they are killed.
GRACE_S = 3.0


class _Process(NamedTuple):
    """One of a job's processes, and what it is told by: its standard input."""

    its: "subprocess.Popen[bytes]"
    own: Connection

    def tell(self, what: Mapping[str, Any]) -> None:
        """That it has ended already is for others to see."""
        with suppress(OSError):
            self.own.send(what)

    def kill(self) -> None:
        """End it with all that it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.its.pid, signal.SIGKILL)
        self.its.wait()
        self.own.close()


_begun: list[_Process] = []


def begin(count: int) -> None:
    """Begin the processes of a job that is likely to come: they import what it needs, and wait.

    They end with this process, whether the job came or not.
    """
    _begun.extend(_begin(count))


def look(command: str, plain: dict[str, Any]) -> list[str] | None:
    """As `kitsseg.config.validation.look`, by the first of the processes that have begun; None if it can't say.

    So this one needn't import what they do, which takes a processor that one of them could have.
    """
    first = _begun[0]
    first.tell({"command": command, "config": plain})
    try:
        found: list[str] | None = first.own.recv()
    except (OSError, EOFError):  # it has ended
        return None
    return found


def start(folder: Path, task: Mapping[str, Any], count: int, anew: bool) -> None:
    """Compute a job in ``count`` processes and wait for them.

    Where it asks for a number of GPUs, it gets as many that no other job of a sweep has.

    Args:
        anew: whether those that have begun don't do, since the environment is another one.

    Raises:
        JobFailedError: one failed; then all have ended.
    """
    write_json(folder / TASK, dict(task))
    early, _begun[:] = list(_begun), []
    processes: list[_Process] = []
    try:
        with _devices(task["config"]["trainer"], count) as env:
            processes = early if len(early) == count and not anew else _begin(count)
            for process in processes:
                process.tell({"task": str(folder / TASK), "folder": os.getcwd(), "env": env})
            _watch([process.its for process in processes], folder)
    finally:
        for process in {*early, *processes}:
            process.kill()
        with suppress(OSError):
            (folder / TASK).unlink(missing_ok=True)


@contextmanager
def _devices(trainer: Mapping[str, Any], count: int) -> Iterator[dict[str, str]]:
    """What the environment says of the GPUs to use; empty if SLURM or the command chose them."""
    chosen = isinstance(trainer["devices"], list) or "," in str(trainer["devices"])
    if chosen or "SLURM_JOB_ID" in os.environ or not distributed.uses_gpus(trainer):
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


def _begin(count: int) -> list[_Process]:
    """The processes of a job, by rank."""
    path = os.pathsep.join(filter(None, sys.path))
    with _free_port() as port:
        return [_begin_one({**_about(rank, count, port), "PYTHONPATH": path}) for rank in range(count)]


def _begin_one(env: Mapping[str, str]) -> _Process:
    own, its = Pipe()
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", "kitsseg.train"],
            env={**os.environ, **env, VARIABLE: "1"},
            stdin=its.fileno(),
            # A session of its own: one signal ends a rank with its loaders' processes, and an
            # interrupt from the terminal reaches this process alone, whose end the socket tells.
            start_new_session=True,
        )
    return _Process(process, own)


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
        raise failures.JobFailedError(failures.first_failure(folder, own))


@contextmanager
def _free_port() -> Iterator[int]:
    """A port that nobody listens at; held until the block ends."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def given() -> bool:
    """Whether this process was started for a job; its own children don't hear of that."""
    return os.environ.pop(VARIABLE, None) is not None


def compute(
    ready: Callable[[], None],
    look: Callable[[str, dict[str, Any]], list[str]],
    work: Callable[[dict[str, Any]], None],
) -> None:
    """As one process of a job: do the work that it is told, or say why that failed.

    Args:
        ready: what can be done while the job isn't known; if that fails, so will the work, and says so.
        look: for problems of the job's config, if this process is told to.
    """
    signals.ignore()
    above = Connection(0)  # not sys.stdin, whose lock would be held as Python ends
    said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    told_already = above.poll()
    threading.Thread(target=_listen, args=(above, said), daemon=True).start()
    if not told_already:
        with suppress(Exception):
            ready()
    told = said.get()
    if "config" in told:
        found = None
        with suppress(Exception):  # the one above looks itself, then, and shows it
            found = look(told["command"], told["config"])
        above.send(found)
        with suppress(Exception):
            ready()
        told = said.get()
    path = Path(told["task"])
    try:
        os.chdir(told["folder"])
        os.environ.update(told["env"])  # before there is a GPU that it could be about
        work(json.loads(path.read_text()))
    except Exception as error:
        code = 1
        try:
            failures.leave_failure(path.parent, failures.describe(error))
        except OSError as disk:
            code = disk.errno if disk.errno in failures.FULL else 1
        sys.stdout.flush()
        os._exit(code)  # at once: others may wait for this rank, and libraries for them


def _listen(above: Connection, said: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Hand on what the process above says, and end when it ends, however that came about."""
    with suppress(OSError, EOFError):
        while True:
            said.put(above.recv())
    os.killpg(0, signal.SIGKILL)
