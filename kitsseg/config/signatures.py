"""What a callable's signature says: its arguments, their types, and the nearest right names."""

import inspect
import pkgutil
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Literal, Union, get_args, get_origin


def one_line(error: BaseException) -> str:
    """The message of an error on one line, without what omegaconf adds for debugging."""
    lines = (line.strip() for line in str(error).splitlines())
    noise = ("full_key:", "object_type=", "reference_type=")
    return " ".join(line for line in lines if line and not line.startswith(noise)) or repr(error)


def nearest(name: str, options: Iterable[str], prefix: str = "") -> str:
    """The remedy for a mistyped name, to put behind a message; empty if there's none to offer."""
    hidden = "__" if name.startswith("_") else "_"
    names = sorted({option for option in options if not option.startswith(hidden)})
    close = get_close_matches(name, names, n=1, cutoff=0.65)
    if close:
        return f"; did you mean {prefix}{close[0]}?"
    return f" ({', '.join(names)})" if 0 < len(names) <= 12 else ""


class Opaque(str):
    """A value that nobody can look at yet: of Hydra's run time, or missing (and reported)."""


def has_opaque(value: Any) -> Iterator[bool]:
    """One item for every opaque value in it."""
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from has_opaque(item)
    elif isinstance(value, Opaque):
        yield True


def join(key: str, part: Any) -> str:
    """``a`` and ``b`` -> ``a.b``; ``a`` and 2 -> ``a[2]``."""
    return f"{key}[{part}]" if isinstance(part, int) else f"{key}.{part}" if key else str(part)


def locate(path: Any) -> tuple[Any, str | None]:
    """What a dotted path names, or what's wrong with the path."""
    if not isinstance(path, str) or not all(path.split(".")):
        return None, f"expected a dotted path, got {path!r}"
    first, *rest = path.split(".")
    try:
        found = import_module(first)
    except ModuleNotFoundError:
        return None, f"{path}: there's no package {first}; is it installed?"
    for position, part in enumerate(rest, 1):
        parent = ".".join([first, *rest[: position - 1]])
        try:
            if not hasattr(found, part):
                found = import_module(f"{parent}.{part}")
            else:
                found = getattr(found, part)
        except Exception as error:  # a module that fails to import may raise anything
            if isinstance(error, ModuleNotFoundError) and f"{parent}.{part}".startswith(str(error.name)):
                names = [*vars(found), *_submodules(found)]
                return None, f"{path}: {parent} has no {part}{nearest(part, names, parent + '.')}"
            return None, f"{path}: importing {parent}.{part} failed: {one_line(error)}"
    return (found, None) if callable(found) else (None, f"{path}: can't be called")


def _submodules(module: Any) -> list[str]:
    return [item.name for item in pkgutil.iter_modules(getattr(module, "__path__", []))]


def arguments(target: Any) -> dict[str, inspect.Parameter] | None:
    """A callable's parameters by name (``*`` and ``**`` for open ones), annotations evaluated."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None
    scope = vars(import_module(target.__module__)) if hasattr(target, "__module__") else {}
    found = {}
    for name, parameter in parameters.items():
        holder = types.SimpleNamespace(__annotations__={name: parameter.annotation})
        try:
            hint = typing.get_type_hints(holder, scope)[name]
        except Exception:  # an annotation only a type checker understands
            hint = Any
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            name = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
        found[name] = parameter.replace(annotation=hint)
    return found


_LISTS = (list, tuple, set, Sequence, Iterable, Collection)
_DICTS = (dict, Mapping)
_KNOWN = (bool, int, float, str, types.NoneType, Literal, Union, types.UnionType, *_LISTS, *_DICTS)


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value may be what an annotation says; true where that can't be told."""
    if isinstance(value, Opaque) or isinstance(value, dict) and "_target_" in value:
        return True
    origin, args = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, arg) for arg in _known(args))
    if origin is Literal:
        return any(type(value) is type(arg) and value == arg for arg in args)
    if origin in (None, types.NoneType):
        return value is None
    if origin is float:
        return type(value) in (int, float)
    if origin in (bool, int, str):
        return type(value) is origin
    if origin in _LISTS:
        if not isinstance(value, list):
            return False
        if origin is tuple and args and args[-1] is not Ellipsis:
            return len(value) == len(args) and all(map(fits, value, args))
        return not args or all(fits(item, args[0]) for item in value)
    if origin in _DICTS:
        item = args[1] if args else Any
        return isinstance(value, dict) and all(fits(each, item) for each in value.values())
    return True


def _known(args: Sequence[Any]) -> Sequence[Any]:
    """A union's plain members: that YAML has no Tensor doesn't make abc a float | Tensor."""
    return [arg for arg in args if (get_origin(arg) or arg) in _KNOWN] or args


def type_name(hint: Any) -> str:
    """An annotation in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(arg) for arg in _known(args))
    if origin is Literal:
        return " or ".join(map(repr, args))
    if hint is types.NoneType:
        return "null"
    name = getattr(hint, "__name__", str(hint))
    inner = ", ".join("..." if arg is Ellipsis else type_name(arg) for arg in args)
    return f"{name}[{inner}]" if args else name
