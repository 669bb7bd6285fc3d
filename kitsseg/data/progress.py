"""Progress of work over cases."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

EVERY_S = 60  # between two lines in a file


class Progress(tqdm):  # type: ignore[type-arg]
    """A progress bar on a terminal. In a file or pipe, a line every minute.

    Args:
        items: what to iterate over, or None if the caller calls ``update``.
        title: text before the numbers.
        options: further arguments of ``tqdm``.
    """

    def __init__(self, items: Iterable[Any] | None, title: str, **options: Any) -> None:
        if not sys.stderr.isatty():
            options |= {"mininterval": EVERY_S, "miniters": 1}
            options["bar_format"] = "{desc}: {n_fmt} of {total_fmt}, {remaining} left"
        super().__init__(items, title, unit="case", **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Write the bar or the line; return True if a bar was written."""
        if self.bar_format is None:
            return bool(super().display(msg, pos))
        if self.n:
            print(self, file=self.fp, flush=True)
        return False

    def close(self) -> None:
        """Remove the bar, or leave it as it is with ``leave``."""
        self.disable = self.disable or self.bar_format is not None  # lines need no end
        super().close()
