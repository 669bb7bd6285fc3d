"""Check components (sections with a ``_target_``) against the signature of the target and build them."""

import functools
import inspect
import json
import pydoc
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from kitsseg.data.suggestions import suggestion
from kitsseg.system.package_messages import error_line

PACKAGE = Path(__file__).parents[1]
NAMES = {"a valid array": "a list", "a valid string": "a string"}  # names of types, by those of pydantic
HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


@dataclass(frozen=True)
class Section:
    """How a command uses a component."""

    given: tuple[str, ...] = ()  # arguments that the command passes itself
    offered: tuple[str, ...] = ()  # arguments that the command passes to targets that accept them
    partial: bool = False  # the section is built as a partial; the command calls it with ``given``
    auto: tuple[str, ...] = ()  # arguments whose value "auto" is resolved by the command
    optional: bool = False  # the section may be empty
    many: bool = False  # the section is a dict of components
    build: bool = True  # build the component during the check, so that its class checks the values


def instantiate(node: Any, **kwargs: Any) -> Any:
    """Build a component from plain lists and dicts, and pass ``kwargs`` to it unchanged.

    `hydra.utils.instantiate` would turn dataclasses among ``kwargs`` into dicts.
    """
    if not kwargs:
        return hydra.utils.instantiate(node, _convert_="all")
    target = hydra.utils.instantiate(node, _convert_="all", _partial_=True)
    return functools.partial(target, **kwargs) if node.get("_partial_") else target(**kwargs)


def check_section(node: Any, key: str, section: Section) -> list[str]:
    """Return the problems of a section: unknown or missing names and wrong types."""
    if not isinstance(node, dict):
        omit = f"; to omit it: ~{key}" if node is None and "." in key else ""
        return [f"{key}: expected a component (a dict with a _target_), got {node!r}{omit}"]
    if section.many:
        return [p for name in node for p in check_section(node[name], f"{key}.{name}", Section())]
    if "_target_" not in node:
        removals = _removals(node, key, node)
        return [f"{key}: has no _target_{f'; to omit it: {removals}' if removals else ''}"]
    problems = check_component(node, key, section)
    if section.partial and node.get("_partial_") is not True:
        problems.append(f"{key}._partial_: must be true; the command passes {', '.join(section.given)}")
    return problems


def _removals(names: Iterable[str], key: str, node: dict[str, Any]) -> str:
    """Return the overrides that remove keys; Hydra removes none whose value is null."""
    first = {name: f"{key}.{name}=0 " if node[name] is None else "" for name in names}
    return " ".join(f"{first[name]}'~{key}.{name}'" for name in names)


def check_component(node: dict[str, Any], key: str, section: Section) -> list[str]:
    """Return the problems of a component's arguments, including nested components."""
    problems = [p for k, inner in _inner(node, key) for p in check_component(inner, k, Section())]
    target, problem = locate(node["_target_"])
    if problem:
        return [*problems, f"{key}._target_: {problem}"]
    hints, given = arguments(target), {*section.given, *section.offered}
    unknown = [n for n in node if n not in HYDRA_KEYS | hints.keys() | given and "**" not in hints]
    if len(unknown) > 1:  # the arguments were written for another class
        named = f"{node['_target_']} has no arguments {', '.join(unknown)}"
        return [*problems, f"{key}: {named}; remove them: {_removals(unknown, key, node)}"]
    for name in unknown:
        options = [*(hints.keys() - given - {"*"}), "_partial_", "_target_"]
        remedy = suggestion(str(name), options, f"{key}.")
        if not remedy.endswith("?"):
            remedy += f"; to remove it: {_removals([name], key, node)}"
        problems.append(f"{key}.{name}: {node['_target_']} has no such argument{remedy}")
    for name in [name for name in node if name not in HYDRA_KEYS]:
        if name in given:
            problems.append(f"{key}.{name}: the command sets this itself; remove it")
        elif name in section.auto and node[name] == "auto":
            continue
        elif name in hints and (wrong := mismatch(node[name], hints[name].annotation)):
            problems.append(f"{key}.{name}={node[name]!r}: {wrong}")
    if node.get("_partial_") and not section.partial:  # its caller may pass the other arguments
        return problems
    required = [name for name, hint in hints.items() if hint.default is inspect.Parameter.empty]
    for name in required[len(node.get("_args_", ())) :]:
        if name not in {*node, *given, "*", "**"}:
            problems.append(f"{key}.{name}: {node['_target_']} requires it; add +{key}.{name}=VALUE")
    return problems


def _inner(value: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the outermost components nested in a value, with their keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, item in items:
        if isinstance(item, dict) and "_target_" in item:
            yield join(key, name), item
        elif isinstance(item, (dict, list)):
            yield from _inner(item, join(key, name))


def build(node: Any, key: str, section: Section, given: dict[str, Any]) -> tuple[Any, list[str]]:
    """Return a component, or None, and the errors that building it raises."""
    import torch

    if "params" in given:
        given["params"] = [torch.nn.Parameter(torch.zeros(1))]
    given |= {name: 100 for name in section.offered if name in arguments(locate(node["_target_"])[0])}
    try:
        if key == "model":  # on the meta device if possible, to allocate no weights
            with suppress(InstantiationException, RuntimeError), torch.device("meta"):
                return instantiate(node), []
        return (instantiate(node)(**given) if section.partial else instantiate(node, **given)), []
    except Exception as error:  # arbitrary classes raise arbitrary errors
        inner = [p for where, each in _inner(node, key) for p in build(each, where, Section(), {})[1]]
        reason = _reason(error)
        name = reason.partition("=")[0]
        named = name.isidentifier() or name.partition(".")[0] in node
        return None, inner or [f"{key}.{reason}" if named else f"{key}: {reason}"]


def _reason(error: BaseException) -> str:
    """Return the message that a component raised, without the exceptions that Hydra wraps around it."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    for cause in (error, error.__cause__, error.__context__):
        details = getattr(cause, "errors", None)  # pydantic's, which albumentations uses
        if callable(details):
            return "; ".join(
                f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg']}" for e in details()
            )
    name = "" if isinstance(error, (TypeError, ValueError)) else f"{type(error).__name__}: "
    return name + error_line(error, None)


# ---- names and signatures


def join(key: str, part: Any) -> str:
    """Return the key of an item: ``a.b`` in a dict, ``a[2]`` in a list."""
    return f"{key}[{part}]" if isinstance(part, int) else f"{key}.{part}" if key else str(part)


def locate(path: Any) -> tuple[Any, str]:
    """Return the object that a dotted path names, and the problem with the path (or an empty string)."""
    if not isinstance(path, str) or not all(path.split(".")):
        return None, f"expected a dotted path, got {path!r}"
    try:
        if (found := pydoc.locate(path)) is not None:
            return (found, "") if callable(found) else (None, f"{path}: not callable")
        parent, _, name = path.rpartition(".")
        if path.startswith(f"{PACKAGE.name}.") and (moved := _find_moved(name)):
            return None, f"{path}: moved to {moved}"
        if (module := pydoc.locate(parent)) is not None:
            remedy = suggestion(name, dir(module), f"{parent}.")
            return None, f"{path}: {parent} has no {name}{remedy}"
    except pydoc.ErrorDuringImport as error:
        return None, f"{path}: {error_line(error, None)}"
    hint = "pip install 'kitsseg[monai]'" if path.startswith("monai.") else "is its package installed?"
    return None, f"{path}: there is no module {parent}; {hint}"


def _find_moved(name: str) -> str:
    """Return the dotted path of a class or function of kitsseg, or an empty string."""
    for file in sorted(PACKAGE.rglob("*.py")):
        if re.search(rf"^(class|def) {re.escape(name)}\b", file.read_text("utf-8"), re.MULTILINE):
            return ".".join((*file.relative_to(PACKAGE.parent).with_suffix("").parts, name))
    return ""


def arguments(target: Any) -> dict[str, inspect.Parameter]:
    """Return a callable's parameters by name; ``*`` and ``**`` are the names of variadic ones."""
    networks = sys.modules.get("torch.nn")  # `torch.nn.Module` declares any arguments, but takes none
    if networks is not None and getattr(target, "__init__", None) is networks.Module.__init__:
        return {}
    try:
        try:
            parameters = inspect.signature(target, eval_str=True).parameters
        except NameError:  # an annotation with names that only a type checker imports
            parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # a builtin without a signature
        parameters = inspect.signature(lambda *args, **kwargs: None).parameters
    names: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return {names.get(item.kind, name): item for name, item in parameters.items()}


def mismatch(value: Any, hint: Any) -> str:
    """Return why a plain value does not match an annotation; empty if it does or is not checkable."""
    if isinstance(hint, str) or hint is inspect.Parameter.empty or any(_inner([value], "")):
        return ""
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        messages = (item["msg"].removeprefix("Input should be ") for item in error.errors())
        kinds = list(dict.fromkeys(NAMES.get(m, m) for m in messages if "isinstance" not in m))
        name = getattr(hint, "__name__", str(hint))
        return f"must be {' or '.join(kinds)}" if kinds else f"must be a component that builds a {name}"
    except (PydanticUserError, TypeError):  # the annotation is not a type of plain values
        return ""
    return ""
