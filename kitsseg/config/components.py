"""Components: config nodes with a ``_target_``, checked against its signature, then built."""

import functools
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from kitsseg.config.signatures import Opaque, arguments, fits, join, locate, nearest, one_line, type_name


@dataclass(frozen=True)
class Section:
    """How a command uses one component of its config.

    Args:
        given: arguments that the command gives itself; not for the config to set.
        offered: arguments that it gives to a target that has them.
        partial: the node makes a function, which the command calls with those arguments.
        resolved: values the command replaces by proper ones, by argument.
        optional: the section may be empty.
        many: a dict of components instead of one.
        build: whether building it is cheap and leaves nothing behind.
    """

    given: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    partial: bool = False
    resolved: Mapping[str, Any] = field(default_factory=dict)
    optional: bool = False
    many: bool = False
    build: bool = True


def instantiate(node: Any, **kwargs: Any) -> Any:
    """What ``node`` describes, given plain lists and dicts only, and ``kwargs`` as they are.

    `hydra.utils.instantiate` would merge ``kwargs`` into the config: a dataclass's instance arrives
    as a dict. So they are passed in a call of our own.
    """
    if not kwargs:
        return hydra.utils.instantiate(node, _convert_="all")
    made = hydra.utils.instantiate(node, _convert_="all", _partial_=True)
    return functools.partial(made, **kwargs) if node.get("_partial_") else made(**kwargs)


def section_problems(node: Any, key: str, section: Section) -> list[str]:
    """What names and types alone tell of a section."""
    if not isinstance(node, dict):
        return [f"{key}: expected a component (a dict with a _target_), got {node!r}"]
    if section.many:
        return [
            problem
            for name, item in node.items()
            for problem in section_problems(item, join(key, name), Section())
        ]
    if "_target_" not in node:
        named = ", ".join(f"~{join(key, name)}" for name in node)
        remedy = f"; to do without it: {named}" if named else ""
        return [f"{key}: has no _target_, the class that it is{remedy}"]
    problems = component_problems(node, key, section)
    if section.partial and node.get("_partial_") is not True:
        problems.append(
            f"{key}._partial_: must be true; {', '.join(section.given)} is known only at run time"
        )
    return problems


def component_problems(node: dict[str, Any], key: str, section: Section | None) -> list[str]:
    """What the signature of ``_target_`` says to the arguments of a node and of those within."""
    problems = []
    for name, value in node.items():
        for where, inner in _components(value, join(key, name)):
            problems += component_problems(inner, where, None)
    if isinstance(node["_target_"], Opaque):
        return problems
    target, problem = locate(node["_target_"])
    if problem is not None:
        return [*problems, f"{key}._target_: {problem}"]
    hints = arguments(target)
    if hints is None:  # a builtin without a signature takes what it takes
        return problems
    section = section or Section()
    given = {*section.given, *section.offered}
    label = node["_target_"]
    for name, value in node.items():
        if name in ("_target_", "_partial_", "_convert_", "_recursive_", "_args_"):
            continue
        if name in given:
            problems.append(f"{join(key, name)}: the command gives this itself; remove it")
        elif name not in hints:
            if "**" not in hints:
                options = [*(hints.keys() - given - {"*"}), "_partial_", "_target_"]
                remedy = nearest(str(name), options, f"{key}.")
                problems.append(f"{join(key, name)}: {label} has no such argument{remedy}")
        elif not fits(value, hints[name].annotation) and value != section.resolved.get(name, ...):
            wanted = type_name(hints[name].annotation)
            wanted += f" or {section.resolved[name]!r}" if name in section.resolved else ""
            problems.append(f"{join(key, name)}: expected {wanted}, got {value!r}")
    # Whoever calls the rest of a partial is unknown, unless it's the command.
    if not node.get("_partial_") or section.partial:
        needed = [name for name, hint in hints.items() if hint.default is inspect.Parameter.empty]
        needed = needed[len(node.get("_args_", ())) :]
        for name in needed:
            if name not in node and name not in given and name not in ("*", "**"):
                problems.append(
                    f"{join(key, name)}: {label} requires it; give it with +{key}.{name}=VALUE"
                )
    return problems


def _components(value: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The outermost components within a value, with their keys."""
    if isinstance(value, dict) and "_target_" in value:
        yield key, value
    elif isinstance(value, (dict, list)):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _components(item, join(key, name))


def build(node: Any, key: str, section: Section, given: dict[str, Any]) -> tuple[Any, list[str]]:
    """A component, or what its class, or those of the components within it, say against it."""
    if "params" in given:
        import torch

        given["params"] = [torch.nn.Parameter(torch.zeros(1))]
    hints = arguments(locate(node["_target_"])[0]) or {}
    given |= {name: 100 for name in section.offered if name in hints}
    try:
        if key == "model":
            import torch

            try:
                with torch.device("meta"):  # names and shapes without the weights
                    return instantiate(node), []
            except (InstantiationException, RuntimeError, NotImplementedError):
                pass  # not every network can be built there: only the real thing tells
        made = instantiate(node)(**given) if section.partial else instantiate(node, **given)
        return made, []
    except Exception as error:  # a component of somebody else may raise anything
        inner = (pair for name in node for pair in _components(node[name], join(key, name)))
        problems = [p for where, each in inner for p in build(each, where, Section(), {})[1]]
        return None, problems or [f"{key}: {_reason(error)}"]


def _reason(error: BaseException) -> str:
    """What a component's class said."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    for cause in (error, error.__cause__, error.__context__):
        details = getattr(cause, "errors", None)  # pydantic's, by which albumentations checks
        if callable(details):
            return "; ".join(
                f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg']}" for e in details()
            )
    known = isinstance(error, (TypeError, ValueError))
    return one_line(error) if known else f"{type(error).__name__}: {one_line(error)}"
