"""Describe why a job failed: one line with the remedy, or a traceback for a bug in kitsseg."""

import errno
import json
import signal
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kitsseg.system import distributed
from kitsseg.system.files import write_json
from kitsseg.system.package_messages import error_line

SMALLER = (
    "try a smaller data.batch_size, model.width, data.size or (in 3D) data.patch, or "
    "trainer.precision=bf16-mixed"
)
RESUME = "then repeat the command to resume"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
GONE = (errno.ENOTDIR, errno.ESTALE, errno.EIO, errno.ENODEV, errno.ENOTCONN)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class Failure:
    """The reason for the failure of a job, as stored in its ``status.json``."""

    error: str  # in one line
    known: bool  # whether ``error`` suffices; otherwise the traceback is shown
    traceback: str
    lines: list[str] = field(default_factory=list)  # shown instead of ``error`` if there are several

    @property
    def message(self) -> list[str]:
        """The lines to show."""
        return self.lines if self.lines else [self.error]


class JobFailedError(Exception):
    """Raised when a process of a job fails; ``failure`` holds the reason."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


def describe(error: BaseException) -> Failure:
    """Return the failure that an exception describes."""
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    from kitsseg.data.store.prepare import BadCasesError

    if isinstance(error, JobFailedError):
        return error.failure
    trace = "".join(traceback.format_exception(error))
    for cause in _causes(error):
        if line := _known_reason(cause):
            return Failure(line, True, trace)
    text = error_line(error, None)
    if isinstance(error, BadCasesError):
        lines = str(error).splitlines()
        text = lines[0] + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else "")
        return Failure(text, True, trace, lines)
    if isinstance(error, (ValueError, MisconfigurationException)):
        return Failure(text, True, trace)
    return Failure(f"{type(error).__name__}: {text}", False, trace)


def killed(number: int, process: str) -> Failure:
    """Return the failure of a process that was killed by signal ``number``."""
    name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
    line = f"{process} was killed by {name}"
    if number == signal.SIGKILL:
        line += f", most likely because memory ran out: {SMALLER}, or fewer data.workers"
    elif number == signal.SIGBUS:
        line += f": a file that it was reading is missing, or the disk is full; fix this, {RESUME}"
    return Failure(line, True, "")


def _known_reason(error: BaseException) -> str:
    """Return the message for an exception whose cause is known, otherwise an empty string."""
    from kitsseg.system.hardware import is_out_of_memory

    text = error_line(error, None)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_out_of_memory(error)):
        return f"out of memory ({text.split('. ')[0][:200]}): {SMALLER}"
    if "DataLoader worker" in text and "killed by signal" in text:
        return f"{text.split('. ')[0]}, most likely because memory ran out: use fewer data.workers"
    # An exception raised in a loader process keeps its type but loses its attributes.
    number, where = getattr(error, "errno", None), getattr(error, "filename", None)
    if number in DISK_FULL or "No space left on device" in text:
        full = where if where is not None else "the output folder"
        return f"{full}: the disk is full; make room, {RESUME}"
    if not isinstance(error, OSError):
        return ""
    at = f"{where}: {error.strerror}" if where is not None else text.rsplit("] ", 1)[-1]
    if number in REFUSED:
        return f"{at}; set a folder that you can read and write, or change its permissions"
    # If only the file is missing, the cause may be a bug in kitsseg.
    path = str(where) if where is not None else at.partition("'")[2].rstrip("'")
    is_missing = number == errno.ENOENT or "[Errno 2]" in text
    if number in GONE or (is_missing and not Path(path).parent.is_dir()):
        return f"{at}; its folder was removed or its disk disconnected; restore it, {RESUME}"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its chain of causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ if error.__cause__ is not None else error.__context__


def clear_failures(folder: Path) -> None:
    """Remove the failures that the ranks of an earlier attempt stored."""
    for path in folder.glob(".failure-*.json"):
        path.unlink()


def store_failure(folder: Path, failure: Failure) -> None:
    """Store the failure of this rank for the process that writes ``status.json``."""
    rank = distributed.rank()
    values = {"time": time.time(), "rank": rank, "ranks": distributed.world_size(), **asdict(failure)}
    write_json(folder / f".failure-{rank}.json", values)


def first_failure(folder: Path, default: Failure) -> Failure:
    """Return the earliest stored failure, which caused the others; ``default`` if none is stored."""
    if distributed.world_size() > 1:
        time.sleep(1)  # wait until other ranks have stored theirs
    stored = [json.loads(path.read_text()) for path in folder.glob(".failure-*.json")]
    clear_failures(folder)
    if not stored:
        return default
    first = min(stored, key=lambda values: float(values["time"]))
    name = f"rank {first['rank']}: " if first["ranks"] > 1 else ""
    return Failure(name + first["error"], first["known"], first["traceback"], first["lines"])
