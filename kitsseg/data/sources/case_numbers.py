"""Case numbers of a data set, and their selection by the user."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


@dataclass(frozen=True)
class CaseNumbers:
    """Case numbers of a data set, in ascending order.

    Attributes:
        labelled: cases with labels.
        test: cases without published labels.
    """

    labelled: tuple[int, ...]
    test: tuple[int, ...] = ()

    @property
    def all(self) -> tuple[int, ...]:
        """All case numbers, in ascending order."""
        return tuple(sorted((*self.labelled, *self.test)))

    def choose(self, cases: object) -> list[int]:
        """Return the selected case numbers in ascending order.

        Args:
            cases: ``labelled``, ``test``, ``all``, a number, a range (``0-41``), or a list of these.

        Raises:
            ValueError: the selection is malformed, empty, or outside the data set.
        """
        if isinstance(cases, list):
            if not cases:
                raise ValueError("cases=[]: must contain at least one case")
            return sorted({number for item in cases for number in self.choose(item)})
        named = {"labelled": self.labelled, "test": self.test, "all": self.all}
        if isinstance(cases, str) and cases in named:
            if not named[cases]:
                raise ValueError(f"cases={cases}: this source has no such cases")
            return list(named[cases])
        try:
            chosen = parse_ranges([str(cases)])
        except ValueError as error:
            names = ", ".join(named)
            message = f"cases={cases}: must be {names}, a number, a range (0-41) or a list of these"
            raise ValueError(message) from error
        if not {chosen[0], chosen[-1]} <= set(self.all):
            raise ValueError(f"cases={cases}: must be within {self}")
        return sorted(set(chosen) & set(self.all))

    def __str__(self) -> str:
        """Return the numbers as ranges, such as ``0-299 or 400-588``."""
        numbers = self.all
        firsts = [n for i, n in enumerate(numbers) if i == 0 or numbers[i - 1] != n - 1]
        lasts = [n for i, n in enumerate(numbers) if i == len(numbers) - 1 or numbers[i + 1] != n + 1]
        return " or ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in zip(firsts, lasts, strict=True))


def parse_ranges(texts: Sequence[str]) -> list[int]:
    """Return the numbers of ranges such as ``0-299`` in ascending order.

    Raises:
        ValueError: a text is not a number or an ascending range.
    """
    numbers: set[int] = set()
    for text in texts:
        match = RANGE.fullmatch(text)
        span = range(0) if match is None else range(int(match[1]), int(match[2] or match[1]) + 1)
        if not span:
            raise ValueError(f"{text!r} must be a case number or an ascending range such as 0-299")
        numbers.update(span)
    return sorted(numbers)
