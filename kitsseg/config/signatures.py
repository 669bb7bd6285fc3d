"""What a dotted path names, what its signature accepts, and which name was meant."""

import inspect
import json
import pydoc
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

PACKAGE = Path(__file__).parents[1]
MAX_LISTED = 12
_ANY_TYPE = ConfigDict(arbitrary_types_allowed=True)


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line, without the details that omegaconf appends."""
    lines = (line.strip() for line in str(error).splitlines())
    details = ("full_key:", "object_type=", "reference_type=")
    return " ".join(line for line in lines if line and not line.startswith(details)) or repr(error)


def closest(name: str, options: Iterable[str]) -> str | None:
    """Return the option that a mistyped name most likely meant, or None."""
    matches = get_close_matches(name, sorted(set(options)), n=1, cutoff=0.65)
    return matches[0] if matches else None


def suggestion(name: str, options: Iterable[str], prefix: str = "") -> str:
    """Return text to append to a message about an unknown name: the closest option, or all of a few."""
    public = sorted({option for option in options if name.startswith("_") or option[:1] != "_"})
    if (match := closest(name, public)) is not None:
        return f"; did you mean {prefix}{match}?"
    return f" ({', '.join(public)})" if 0 < len(public) <= MAX_LISTED else ""


def join(key: str, part: Any) -> str:
    """Return the key of an item: ``a.b`` in a dict, ``a[2]`` in a list."""
    return f"{key}[{part}]" if isinstance(part, int) else f"{key}.{part}" if key else str(part)


def locate(path: Any) -> tuple[Any, str]:
    """Return what a dotted path names, and the problem with the path (empty if there is none)."""
    if not isinstance(path, str) or not all(path.split(".")):
        return None, f"expected a dotted path, got {path!r}"
    try:
        if (found := pydoc.locate(path)) is not None:
            return (found, "") if callable(found) else (None, f"{path}: is not callable")
        parent, _, name = path.rpartition(".")
        if path.startswith(f"{PACKAGE.name}.") and (moved := _find_moved(name)):
            return None, f"{path}: moved to {moved}"
        if (module := pydoc.locate(parent)) is not None:
            return None, f"{path}: {parent} has no {name}{suggestion(name, dir(module), f'{parent}.')}"
    except pydoc.ErrorDuringImport as error:
        return None, f"{path}: {one_line(error)}"
    hint = "pip install 'kitsseg[monai]'" if path.startswith("monai.") else "is its package installed?"
    return None, f"{path}: there is no module {parent}; {hint}"


def _find_moved(name: str) -> str:
    """Return the dotted path of a class or function of kitsseg, empty if there is none."""
    for file in sorted(PACKAGE.rglob("*.py")):
        if re.search(rf"^(class|def) {re.escape(name)}\b", file.read_text("utf-8"), re.MULTILINE):
            return ".".join((*file.relative_to(PACKAGE.parent).with_suffix("").parts, name))
    return ""


def arguments(target: Any) -> dict[str, inspect.Parameter] | None:
    """Return a callable's parameters by name, ``*`` and ``**`` for open ones; None without a signature."""
    try:
        try:
            parameters = inspect.signature(target, eval_str=True).parameters
        except NameError:  # an annotation that only a type checker can evaluate
            parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None
    names: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return {names.get(item.kind, name): item for name, item in parameters.items()}


def mismatch(value: Any, hint: Any) -> str:
    """Return how a plain value contradicts an annotation, empty if it fits or cannot be checked."""
    if isinstance(hint, str) or hint is inspect.Parameter.empty or has_target(value):
        return ""
    try:
        TypeAdapter(hint, config=_ANY_TYPE).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        messages = (item["msg"].removeprefix("Input should be ") for item in error.errors())
        return f"must be {' or '.join(dict.fromkeys(m for m in messages if 'isinstance' not in m))}"
    except (PydanticUserError, TypeError):  # not a type of plain values
        return ""
    return ""


def has_target(value: Any) -> bool:
    """Whether a value is a component or contains one."""
    if isinstance(value, dict):
        return "_target_" in value or any(map(has_target, value.values()))
    return isinstance(value, list) and any(map(has_target, value))
