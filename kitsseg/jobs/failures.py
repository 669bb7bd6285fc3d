"""Why a job failed: one line with the remedy, or a traceback if the mistake is kitsseg's."""

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

SMALLER = "try a smaller data.batch_size, model.width or data.size, or trainer.precision=bf16-mixed"
RESUME = "then give the same command again to resume"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
GONE = (errno.ENOTDIR, errno.ESTALE, errno.EIO, errno.ENODEV, errno.ENOTCONN)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class Failure:
    """Why a job failed, as its ``status.json`` stores it."""

    error: str  # in one line
    known: bool  # whether that line is enough; otherwise the traceback is shown
    traceback: str
    lines: list[str] = field(default_factory=list)  # shown instead of ``error`` if there are several

    @property
    def message(self) -> list[str]:
        """The lines to show."""
        return self.lines if self.lines else [self.error]


class JobFailedError(Exception):
    """A process of a job failed, because of ``failure``."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


def describe(error: BaseException) -> Failure:
    """Return the failure that an exception stands for."""
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    from kitsseg.data.store.prepare import BadCasesError

    if isinstance(error, JobFailedError):
        return error.failure
    trace = "".join(traceback.format_exception(error))
    for cause in _causes(error):
        if line := _known_reason(cause):
            return Failure(line, True, trace)
    text = one_line(error)
    if isinstance(error, BadCasesError):
        lines = str(error).splitlines()
        text = lines[0] + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else "")
        return Failure(text, True, trace, lines)
    if isinstance(error, (ValueError, MisconfigurationException)):
        return Failure(text, True, trace)
    return Failure(f"{type(error).__name__}: {text}", False, trace)


def killed(number: int, process: str) -> Failure:
    """Return the failure of a process that signal ``number`` ended."""
    name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
    line = f"{process} was killed by {name}"
    if number == signal.SIGKILL:
        line += f", most likely because memory ran out: {SMALLER}, or fewer data.workers"
    elif number == signal.SIGBUS:
        line += f": a file that it was reading is gone, or the disk is full; correct that, {RESUME}"
    return Failure(line, True, "")


def _known_reason(error: BaseException) -> str:
    """Return the line for an exception whose reason is known, else an empty string."""
    import torch

    text = one_line(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text:
        return f"out of memory ({text.split('. ')[0][:200]}): {SMALLER}"
    if "DataLoader worker" in text and "killed by signal" in text:
        return f"{text.split('. ')[0]}, most likely because memory ran out: use fewer data.workers"
    # An exception in a loader process arrives as the same type, without its attributes.
    number, where = getattr(error, "errno", None), getattr(error, "filename", None)
    if number in DISK_FULL or "No space left on device" in text:
        full = where if where is not None else "the output folder"
        return f"{full}: the disk is full; make room, {RESUME}"
    if not isinstance(error, OSError):
        return ""
    at = f"{where}: {error.strerror}" if where is not None else text.rsplit("] ", 1)[-1]
    if number in REFUSED:
        return (
            f"{at}; name a folder of which you may read and write the files, or change its permissions"
        )
    # If only the file is missing, kitsseg may be at fault.
    path = str(where) if where is not None else at.partition("'")[2].rstrip("'")
    is_missing = number == errno.ENOENT or "[Errno 2]" in text
    if number in GONE or (is_missing and not Path(path).parent.is_dir()):
        return f"{at}; was a folder removed or a disk disconnected? restore it, {RESUME}"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ if error.__cause__ is not None else error.__context__


def one_line(error: BaseException) -> str:
    """Return the message of an exception on one line, without omegaconf's details, or else its type."""
    details = ("full_key:", "object_type=", "reference_type=")
    lines = [line for line in str(error).splitlines() if not line.strip().startswith(details)]
    return " ".join(" ".join(lines).split()) or type(error).__name__


def clear_failures(folder: Path) -> None:
    """Remove the failures that the ranks of an earlier attempt stored."""
    for path in folder.glob(".failure-*.json"):
        path.unlink()


def store_failure(folder: Path, failure: Failure) -> None:
    """Store the failure of this rank for the process that writes the job's status."""
    rank = distributed.rank()
    values = {"time": time.time(), "rank": rank, "ranks": distributed.world_size(), **asdict(failure)}
    write_json(folder / f".failure-{rank}.json", values)


def first_failure(folder: Path, default: Failure) -> Failure:
    """Return the earliest failure that a rank stored, which caused the others, or ``default``."""
    if distributed.world_size() > 1:
        time.sleep(1)  # other ranks store theirs at the same time
    stored = [json.loads(path.read_text()) for path in folder.glob(".failure-*.json")]
    clear_failures(folder)
    if not stored:
        return default
    first = min(stored, key=lambda values: float(values["time"]))
    name = f"rank {first['rank']}: " if first["ranks"] > 1 else ""
    return Failure(name + first["error"], first["known"], first["traceback"], first["lines"])
