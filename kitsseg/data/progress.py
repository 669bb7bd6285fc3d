"""Progress of work over cases."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

EVERY_S = 60  # between two lines in a file


def progress(items: Iterable[Any] | None, title: str, **options: Any) -> "tqdm[Any]":
    """Return a progress bar on a terminal; in a file or pipe, a writer of one line per minute.

    Args:
        items: what to iterate over, or None if the caller calls ``update``.
        title: text before the numbers.
        options: further arguments of ``tqdm``.
    """
    if sys.stderr.isatty():
        return tqdm(items, title, unit="case", **options)
    return _Lines(items, title, mininterval=EVERY_S, miniters=1, bar_format=_Lines.TEXT, **options)


class _Lines(tqdm):  # type: ignore[type-arg]
    TEXT = "{desc}: {n_fmt} of {total_fmt}, {remaining} left"

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.n:
            print(self, file=self.fp, flush=True)

    def close(self) -> None:
        self.disable = True  # there is no bar to remove
