"""Run commands in forks of a process that has already imported their modules."""

import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import monai.networks.nets  # noqa: F401
import pytorch_lightning  # noqa: F401
import torch
import tqdm

import kitsseg.data.slices.datamodule
import kitsseg.reporting.html.page
import kitsseg.reporting.showcase
import kitsseg.tracking.sweep_end  # noqa: F401
from kitsseg import train
from kitsseg.jobs import launch

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


def run(
    home: Path,
    *arguments: str,
    env: dict[str, str] | None = None,
    ranks: int = 1,
    name: str = "kitsseg.train",
) -> list[int]:
    """Run `python -m NAME` in ``home``, with ``ranks`` processes as torchrun starts them.

    ``KILL_OPENING`` in ``env`` names a folder in ``home``: see `_kill_opening`.

    Returns:
        The exit code of each process, as in `subprocess`. If one fails, the others are killed, unless
        they fail first, because they have lost the connection to it.
    """
    about = [dict(env) if env is not None else {} for _ in range(ranks)]
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    for rank, each in enumerate(about if ranks > 1 else ()):
        each |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
        each |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    said = home / "said.txt"
    processes = [
        _context.Process(target=_command, args=(home, arguments, each, name, said, said))
        for each in about
    ]
    for process in processes:
        process.start()
    waiting = list(processes)
    while waiting:
        ended = multiprocessing.connection.wait([p.sentinel for p in waiting], 300)
        assert ended, "no process has ended"
        waiting = [process for process in waiting if process.sentinel not in ended]
        for process in processes:
            process.join(0)
        if any(process.exitcode for process in processes):
            for process in waiting:
                process.kill()
    for process in processes:
        process.join()
    return [int(process.exitcode) for process in processes]  # type: ignore[arg-type]


def command(
    home: Path, *arguments: str, env: dict[str, str] | None = None, name: str = "kitsseg.train"
) -> subprocess.CompletedProcess[str]:
    """Run `python -m NAME`, or the script ``name``, in ``home``.

    ``env`` replaces the settings of W&B, kitsseg and pytest among the environment variables.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, part) for part in ("stdout", "stderr")]
        line = (home, arguments, {} if env is None else env, name, *files)
        process = _context.Process(target=_command, args=line)
        process.start()
        process.join(400)
        assert process.exitcode is not None, "the command has not ended"
        said = [path.read_text() if path.exists() else "" for path in files]
        return subprocess.CompletedProcess([name, *arguments], process.exitcode, *said)


def _command(
    home: Path, arguments: Sequence[str], env: dict[str, str], name: str, out: Path, err: Path
) -> None:
    for key in [n for n in os.environ if n.startswith(("WANDB", "KITSSEG", "PYTEST"))]:
        del os.environ[key]
    os.environ.update(env)
    os.chdir(home)
    sys.path.insert(0, str(home))  # as python -m does
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    torch.set_num_threads(1)
    tqdm.tqdm.set_lock(threading.RLock())  # the default lock's semaphore would outlive a killed process
    launch._start_rank = _Rank  # type: ignore[assignment]
    if "KILL_OPENING" in env:
        sys.addaudithook(_kill_opening(home / env["KILL_OPENING"]))
    is_script = name.endswith(".py")
    sys.argv = [name if is_script else f"{name.split('.')[-1]}.py", *arguments]
    if is_script:
        sys.path[0] = str(Path(name).parent)
        runpy.run_path(name, run_name="__main__")
    elif name == "kitsseg.train":
        train.main()
    else:
        runpy.run_module(name, run_name="__main__")


class _Rank:
    """A process of a job, as `launch._start_rank` starts it, but a fork.

    The jobs of a parallel launcher run in processes of its own, which start their ranks themselves.
    """

    def __init__(self, job: Path, env: Mapping[str, str], ranks: int) -> None:
        self.returncode: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            code = 1
            try:
                os.setsid()
                os.environ.update({**env, launch.VARIABLE: str(job.absolute())})
                sys.argv = sys.argv[:1]
                train.main()
                sys.stdout.flush()
                code = 0
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        return self._wait(0)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def _kill_opening(folder: Path) -> Callable[[str, Any], None]:
    """Kill this process when it opens a file below ``folder`` for writing, once per file.

    ``folder``.opened lists these files, without the process id in temporary names.
    """
    listed, prefix = folder.with_suffix(".opened"), f".{os.getpid()}-"
    before = set(listed.read_text().split("\n")) if listed.is_file() else set()

    def hook(event: str, about: Any) -> None:
        if event != "open" or not isinstance(about[0], (str, os.PathLike)):
            return
        path, flags = Path(about[0]).absolute(), int(about[2])
        if not path.is_relative_to(folder):
            return
        name = str(path.relative_to(folder).with_name(path.name.removeprefix(prefix)))
        if not flags & os.O_TRUNC or name in before:
            return
        before.add(name)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        with listed.open("a") as file:
            file.write(f"{name}\n")
        os.kill(os.getpid(), signal.SIGKILL)

    return hook
