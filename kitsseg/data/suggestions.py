"""Suggest the closest known name in messages about an unknown one."""

from collections.abc import Iterable
from difflib import get_close_matches

MAX_LISTED = 12  # options in a message


def closest(name: str, options: Iterable[str]) -> str | None:
    """Return the option closest to a mistyped name, or None."""
    return next(iter(get_close_matches(name, sorted(set(options)), n=1, cutoff=0.65)), None)


def suggestion(name: str, options: Iterable[str], prefix: str = "") -> str:
    """Return the end of a message about an unknown name: the closest option, or all if there are few."""
    public = sorted({option for option in options if name.startswith("_") or option[:1] != "_"})
    if (match := closest(name, public)) is not None:
        return f"; did you mean {prefix}{match}?"
    return f" ({', '.join(public)})" if 0 < len(public) <= MAX_LISTED else ""
