"""One job over many cases, by several processes, with a bar."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

import cv2
from tqdm import tqdm

from kitsseg.system import signals

# Of the processes, which are what runs beside each other. glibc would give a volume's memory back to
# the kernel once it's free, and get it again, zeroed, for the next: kept, a case takes a sixth less
# time.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
}

Item = TypeVar("Item")
Result = TypeVar("Result")


def over_cases(
    job: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str
) -> Iterator[Result]:
    """``job`` of each item, in their order; at most ``workers`` processes, and none if one is enough.

    Whoever stops listening ends it: what hasn't begun by then never does.

    Raises:
        ValueError: a process was killed.
    """
    with tqdm(total=len(items), desc=title, unit="case", disable=None) as bar:
        if min(workers, len(items)) <= 1:
            for item in items:
                yield job(item)
                bar.update()
            return
        # Spawned, not forked: the parent may already hold threads.
        pool = ProcessPoolExecutor(min(workers, len(items)), get_context("spawn"), _settle)
        try:
            # The terminal's interrupt, too, is for this process to answer.
            with _environment(), signals.withheld(signal.SIGINT):
                results = pool.map(job, items)  # which begins all processes
            for result in results:
                yield result
                bar.update()
        except BrokenProcessPool as error:
            raise ValueError(
                f"one of {workers} processes was killed after {bar.n} of {len(items)} cases, most "
                "likely for want of memory; set fewer workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _environment() -> Iterator[None]:
    """`ENVIRONMENT`, as far as the user hasn't set it, for the processes that begin meanwhile."""
    own = {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            del os.environ[name]


def _settle() -> None:
    cv2.setNumThreads(1)
    signals.heed_parent()
