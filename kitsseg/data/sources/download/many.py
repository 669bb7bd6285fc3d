"""Many files at once: threads, one progress bar, and what came of each."""

import errno
import queue
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from kitsseg import __version__
from kitsseg.data.sources.download.http import (
    FetchError,
    NotThereError,
    Patience,
    UnreachableError,
    fetch,
)
from kitsseg.system.locks import StoppedError, locked
from kitsseg.system.obstacles import is_file, obstacle

# What the disk says of one place; with anything else it would refuse every other file, too.
OF_ONE_PLACE = {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP}
PATIENCE_ON_EXIT_S = 3  # how long Ctrl-C waits for what is being written


@dataclass(frozen=True)
class Wanted:
    """One file that should be there.

    Attributes:
        target: where.
        source: its address, or the file it is copied from.
        check: raises `ValueError` if it is damaged.
        magic: its first bytes.
        remedy: what to look at if the source hasn't got it.
        optional: whether that is a failure at all.
    """

    target: Path
    source: str | Path
    check: Callable[[Path], None]
    magic: bytes
    remedy: str
    optional: bool = False


class Bar:
    """Bytes on a progress bar, whose total is estimated from the files that have begun."""

    def __init__(self, files: list[Wanted]) -> None:
        self.lock = threading.Lock()
        self.files, self.done, self.retries = len(files), 0, 0
        self.waiting = [wanted.target.name for wanted in files]
        self.lengths: dict[Path, tuple[str, int]] = {}
        pause_s = 0.2 if sys.stderr.isatty() else 60
        self.bar = tqdm(
            desc=self._title(), unit="B", unit_scale=True, smoothing=0, disable=not files,
            mininterval=pause_s, maxinterval=max(10, pause_s),
        )  # fmt: skip

    def watcher(self, target: Path) -> Callable[[int, int | None], None]:
        """What is told how much of one file is there, and how long it is."""
        before: list[int] = []

        def watch(size: int, length: int | None) -> None:
            with self.lock:
                if not before:  # what an earlier run left says nothing about the speed
                    before.append(size)
                    self.bar.n += size
                    self.bar.initial += size
                if length is not None and self.lengths.get(target) != (target.name, length):
                    if target not in self.lengths:
                        self.waiting.remove(target.name)
                    self.lengths[target] = (target.name, length)
                    self._estimate()
                self.bar.update(size - before[0])
                before[0] = size

        return watch

    def note(self, target: Path, text: str) -> None:
        """A file is tried again."""
        with self.lock:
            self.retries += 1
            self.bar.set_postfix_str(
                f"{target.parent.name}: {text} (retry {self.retries})", refresh=False
            )

    def finish(self, target: Path) -> None:
        """A file has come to its end, good or bad."""
        with self.lock:
            self.done += 1
            if target not in self.lengths:
                self.waiting.remove(target.name)
                self._estimate()
            self.bar.set_description_str(self._title(), refresh=False)

    def close(self) -> None:
        with self.lock:
            self.bar.close()

    def _title(self) -> str:
        return f"{self.done}/{self.files} files"

    def _estimate(self) -> None:
        known = list(self.lengths.values())
        total = sum(length for _, length in known)
        for name in set(self.waiting):
            like = [length for other, length in known if other == name]
            if not like:
                return  # nothing to go by yet
            total += round(self.waiting.count(name) * sum(like) / len(like))
        self.bar.total = total


class Fetching:
    """Threads that fetch what is wanted, and what came of it.

    Args:
        wanted: the files, fetched about in this order.
        workers: how many at once.
        patience: when to try again.
        check: read again what is there already, and fetch what is damaged.
    """

    def __init__(self, wanted: list[Wanted], workers: int, patience: Patience, check: bool) -> None:
        self.patience, self.check = patience, check
        self.missing = [each for each in wanted if check or not is_file(each.target)]
        self.bar = Bar(self.missing)
        self.jobs: queue.SimpleQueue[Wanted] = queue.SimpleQueue()
        for each in self.missing:
            self.jobs.put(each)
        self.stop = threading.Event()
        self.fetched: list[Wanted] = []
        self.failed: list[tuple[Wanted, str]] = []
        self.heard: dict[str, float] = {}  # when a host last gave something
        self.silent: set[str] = set()
        self.untried: dict[str, int] = {}
        self.fatal: Exception | None = None
        # Daemons: a thread that waits for a silent host must not keep the process after Ctrl-C.
        count = min(workers, len(self.missing))
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]

    def run(self) -> None:
        """Return when all are done, or the disk is full.

        Raises:
            OSError: the disk doesn't take a file.
            KeyboardInterrupt: as it is; what has come is kept.
        """
        try:
            for thread in self.threads:
                thread.start()
            for thread in self.threads:
                while thread.is_alive():
                    thread.join(0.1)
        finally:
            self.stop.set()
            end = time.monotonic() + PATIENCE_ON_EXIT_S
            for thread in self.threads:
                if thread.ident is not None:
                    thread.join(max(0.0, end - time.monotonic()))
            self.bar.close()
        if self.fatal is not None:
            raise self.fatal

    def _work(self) -> None:
        with requests.Session() as session:
            session.headers["User-Agent"] = f"kitsseg/{__version__}"
            while not self.stop.is_set():
                try:
                    wanted = self.jobs.get_nowait()
                except queue.Empty:
                    return
                try:
                    self._obtain(wanted, session)
                except StoppedError:
                    return
                except Exception as error:  # the disk, or a mistake of ours: either ends it all
                    self.fatal = self.fatal or error
                    self.stop.set()
                    return
                self.bar.finish(wanted.target)

    def _obtain(self, wanted: Wanted, session: requests.Session) -> None:
        """Get one file, or write down why not."""
        host, begun = urlsplit(str(wanted.source)).netloc, time.monotonic()
        if host in self.silent:
            self.untried[host] = self.untried.get(host, 0) + 1
            return
        if (problem := obstacle(wanted.target)) is not None:
            self.failed.append((wanted, f"{wanted.target.name} {problem}"))
            return
        watch = self.bar.watcher(wanted.target)

        sizes: list[int] = []

        def heard(size: int, length: int | None) -> None:
            if sizes and size > sizes[-1]:
                self.heard[host] = time.monotonic()
            sizes[:] = [size]
            watch(size, length)

        def note(text: str) -> None:
            self.bar.note(wanted.target, text)

        wanted.target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(wanted.target, self.stop, note):
                if is_whole(wanted, self.check):
                    return
                if isinstance(wanted.source, Path):
                    copy(wanted, watch)
                else:
                    fetch(
                        wanted.source, wanted.target, wanted.check, session, magic=wanted.magic,
                        patience=self.patience, stop=self.stop, watch=heard, note=note,
                    )  # fmt: skip
            self.fetched.append(wanted)
        except NotThereError as error:
            if not wanted.optional:
                self.failed.append((wanted, f"{error}: {wanted.remedy}"))
        except UnreachableError as error:
            self.failed.append((wanted, str(error)))
            if self.heard.get(host, begun) <= begun:
                self.silent.add(host)  # the others would only wait as long, one by one
        except FetchError as error:
            self.failed.append((wanted, f"{error}: {wanted.remedy}"))
        except OSError as error:
            if error.errno not in OF_ONE_PLACE:
                raise
            self.failed.append((wanted, f"{error.filename}: {error.strerror}; move it away or chmod it"))


def is_whole(wanted: Wanted, check: bool) -> bool:
    """Whether the file is there; with ``check`` it is read, otherwise its name is proof enough."""
    if not is_file(wanted.target):
        return False
    if not check:
        return True
    try:
        wanted.check(wanted.target)
    except ValueError:
        return False
    return True


def copy(wanted: Wanted, watch: Callable[[int, int | None], None]) -> None:
    """Copy a file from a folder, check it, and only then give it its name."""
    source, part = Path(wanted.source), wanted.target.with_name(f".{wanted.target.name}.part")
    if not is_file(source):
        raise NotThereError(f"{source}: there's no such file")
    length = source.stat().st_size
    watch(0, length)
    shutil.copyfile(source, part)
    watch(length, length)
    try:
        wanted.check(part)
    except ValueError as error:
        part.unlink()
        raise FetchError(f"{source}: {error}") from error
    part.replace(wanted.target)
