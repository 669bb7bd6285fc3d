"""Which cases a data set has, by number, and how a user names some of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

SPAN = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


@dataclass(frozen=True)
class Numbers:
    """The numbers of a data set's cases, ascending: with labels, and those whose labels nobody has."""

    labelled: tuple[int, ...]
    test: tuple[int, ...] = ()

    @property
    def all(self) -> tuple[int, ...]:
        return tuple(sorted((*self.labelled, *self.test)))

    def choose(self, cases: object) -> list[int]:
        """Numbers from ``labelled``, ``test``, ``all``, ``7``, ``0-41`` or a list of these, sorted.

        Raises:
            ValueError: it's something else, or a number that the data set doesn't have.
        """
        if isinstance(cases, list):
            if not cases:
                raise ValueError("cases: an empty list asks for nothing")
            return sorted({number for each in cases for number in self.choose(each)})
        named = {"labelled": self.labelled, "test": self.test, "all": self.all}
        if isinstance(cases, str) and cases in named:
            if not named[cases]:
                raise ValueError(f"cases: {cases} asks for nothing: this source has no such cases")
            return list(named[cases])
        if re.fullmatch(r"\d+(-\d+)?", str(cases)) is None:
            names = ", ".join(named)
            raise ValueError(
                f"cases: {cases} must be {names}, a number, a range (0-41) or a list of these"
            )
        first, _, last = str(cases).partition("-")
        chosen = range(int(first), int(last if last else first) + 1)
        if not chosen or not {chosen[0], chosen[-1]} <= set(self.all):
            raise ValueError(f"cases: {cases} must lie in {self}, the smaller number first")
        return [number for number in self.all if number in chosen]

    def __str__(self) -> str:
        """Such as ``0-299 or 400-588``."""
        numbers = self.all
        firsts = [n for i, n in enumerate(numbers) if i == 0 or numbers[i - 1] != n - 1]
        lasts = [n for i, n in enumerate(numbers) if i == len(numbers) - 1 or numbers[i + 1] != n + 1]
        return " or ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in zip(firsts, lasts, strict=True))


def spans(texts: Sequence[str]) -> list[int]:
    """The numbers of ranges such as ``0-299``, ascending.

    Raises:
        ValueError: one isn't a range.
    """
    numbers: set[int] = set()
    for text in texts:
        match = SPAN.fullmatch(text)
        span = range(0) if match is None else range(int(match[1]), int(match[2] or match[1]) + 1)
        if not span:
            raise ValueError(f"{text} must be a case's number or a range of them, such as 0-299")
        numbers.update(span)
    return sorted(numbers)
