"""One job over many cases, by several processes, with a bar."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

import cv2
from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def over_cases(
    job: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str
) -> Iterator[Result]:
    """``job`` of each item, in their order; at most ``workers`` processes, and none if one is enough.

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
        context = get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(items)), context, _one_thread) as pool:
            try:
                for result in pool.map(job, items):
                    yield result
                    bar.update()
            except BrokenProcessPool as error:
                raise ValueError(
                    f"one of {workers} processes was killed after {bar.n} of {len(items)} cases, most "
                    "likely for its memory; run it again with fewer of them"
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    cv2.setNumThreads(1)  # the processes are what runs beside each other
