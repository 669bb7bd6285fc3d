"""Why a job failed, in one line where that is no mistake of ours, with the remedy."""

import errno
import json
import signal
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kitsseg.jobs import failures
from kitsseg.system import distributed
from kitsseg.system.files import write_json

SMALLER = "try a smaller data.batch_size, model.width or data.size, or trainer.precision=bf16-mixed"
AGAIN = "then give the same command again: it goes on from there"
FULL = (errno.ENOSPC, errno.EDQUOT)
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.EIO, errno.ENODEV, errno.ENOTCONN, errno.EACCES)
# A name, so that torch and Lightning needn't be imported to ask.
NO_MEMORY = ("OutOfMemoryError", "MemoryError", "_ArrayMemoryError")
MEANT_FOR_USERS = ("MisconfigurationException",)
LISTS = "BadCasesError"  # kitsseg.data.store.prepare's, a line a case


@dataclass(frozen=True)
class Failure:
    """What became of a job, as its ``status.json`` keeps it.

    Attributes:
        error: what went wrong, in one line.
        known: whether that line says it all; if not, the traceback is shown, too.
        traceback: where.
        lines: what a user is told instead, if that is several lines.
    """

    error: str
    known: bool
    traceback: str
    lines: list[str] = field(default_factory=list)

    @property
    def told(self) -> list[str]:
        """The lines that a user gets to see."""
        return self.lines if self.lines else [self.error]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class JobFailedError(Exception):
    """A process of a job failed; what is known of it lies in ``failure``."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


def describe(error: BaseException) -> Failure:
    """The failure that an exception stands for."""
    if isinstance(error, JobFailedError):
        return error.failure
    trace = "".join(traceback.format_exception(error))
    for cause in _chain(error):
        if line := _line(cause):
            return Failure(line, True, trace)
    text = one_line(error)
    if type(error).__name__ == LISTS:
        lines = str(error).splitlines()
        text = lines[0] + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else "")
        return Failure(text, True, trace, lines)
    if isinstance(error, ValueError) or type(error).__name__ in MEANT_FOR_USERS:
        return Failure(text, True, trace)
    return Failure(f"{type(error).__name__}: {text}", False, trace)


def killed(number: int, who: str) -> Failure:
    """The failure of a process that signal ``number`` ended."""
    name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
    line = f"{who} was killed by {name}"
    if number == signal.SIGKILL:
        line += f", most likely for want of memory: {SMALLER}, or fewer data.workers"
    elif number == signal.SIGBUS:
        line += f": a file that it was reading is gone, or the disk is full; mend that, {AGAIN}"
    return Failure(line, True, "")


def _line(error: BaseException) -> str:
    """What is known of this very exception; empty if nothing is."""
    text = one_line(error)
    if type(error).__name__ in NO_MEMORY or "can't allocate memory" in text:
        return f"out of memory ({text.split('. ')[0][:200]}): {SMALLER}"
    if "DataLoader worker" in text and "killed by signal" in text:
        return f"{text.split('. ')[0]}, most likely for want of memory: use fewer data.workers"
    # What a loader's process raised comes as the same type, without its attributes.
    number = getattr(error, "errno", None)
    where = getattr(error, "filename", None)
    if number in FULL or "No space left on device" in text:
        full = where if where is not None else "the output folder"
        return f"{full}: the disk is full; make room, {AGAIN}"
    if isinstance(error, OSError) and (number in GONE or "[Errno 2]" in text):
        at = f"{where}: {error.strerror}" if where is not None else text.rsplit("] ", 1)[-1]
        return f"{at}; has a folder gone, or a disk been taken away? bring it back, {AGAIN}"
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ if error.__cause__ is not None else error.__context__


def one_line(error: BaseException) -> str:
    """Its text, or its type if it has none."""
    text = " ".join(str(error).split())
    return text if text else type(error).__name__


def about(folder: Path, rank: int) -> Path:
    """Where a process of a job leaves its failure for the one that started it."""
    return folder / f".failure-{rank}.json"


def leave_failure(folder: Path, failure: Failure) -> None:
    """Say why this rank failed, to the process that keeps the job's status."""
    which = {"time": time.time(), "rank": distributed.rank(), "ranks": distributed.count()}
    write_json(failures.about(folder, distributed.rank()), which | failure.plain())


def first_failure(folder: Path, own: Failure) -> Failure:
    """The failure by which all others came about, if a rank left one; else ``own``."""
    if distributed.count() > 1:
        time.sleep(1)  # the others tell at the same time
    left = []
    for path in folder.glob(".failure-*.json"):
        left.append(json.loads(path.read_text()))
        path.unlink()
    if not left:
        return own
    first = min(left, key=lambda each: float(each["time"]))
    name = f"rank {first['rank']}: " if first["ranks"] > 1 else ""
    return Failure(name + first["error"], first["known"], first["traceback"], first["lines"])
