"""Check a composed configuration before a run: `validate` returns its problems."""

import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kitsseg.config.components import Section, build, check_section, join, suggestion

_PACKAGE = Path(__file__).parents[1]
# In a wheel, the YAML files are in the package; in a checkout, beside it.
CONFIG_DIR = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"


def is_on(node: Any, section: Section | None = None) -> bool:
    """Whether an optional section is chosen; an experiment may have set values of one that is not."""
    many = section is not None and section.many
    return bool(node) and (many or not isinstance(node, Mapping) or "_target_" in node)


def plain(value: Any) -> Any:
    """Return a value of a configuration as plain lists, dicts and scalars."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


@dataclass
class PathsConfig:
    """Folders of data and results, which several commands have."""

    data: str = MISSING
    output: str = MISSING


@dataclass(frozen=True)
class Command:
    """A command, as the check of its configuration sees it.

    Args:
        name: the command, and the name of its YAML file in ``conf/``.
        schema: dataclass with the keys and types of the root.
        sections: the components, in the order of building.
        check: returns further problems, from the plain values and the components that could be built.
    """

    name: str
    schema: type
    sections: Mapping[str, Section] = field(default_factory=dict)
    check: Callable[[dict[str, Any], dict[str, Any]], list[str]] = lambda values, built: []

    def __post_init__(self) -> None:
        ConfigStore.instance().store(name=f"{self.name}_schema", node=self.schema)


def validate(cfg: DictConfig, command: Command, cache: dict[str, Any] | None = None) -> list[str]:
    """Return the problems of a composed configuration, one line each.

    Names and types are checked against the schema and against the signatures of the classes that
    ``_target_`` names. Ranges are checked by those classes, which are built.

    Args:
        cfg: the configuration, without the node ``hydra``.
        command: whose configuration it is.
        cache: pass the same dict for the jobs of a sweep, so that what they share is built once.
    """
    removed = {item.name for item in fields(command.schema)} - {str(key) for key in cfg}
    try:
        missing = sorted(OmegaConf.missing_keys(cfg) | removed)
        values = {} if missing else plain(cfg)
    except OmegaConfBaseException as error:
        return [f"{error.full_key}: {str(error).splitlines()[0]}"]
    if missing:
        return [f"{key}: has no value; set it with {key}=VALUE" for key in missing]
    problems = _unknown_keys(command.schema, values, "")
    return problems + _check_components(command, values, {} if cache is None else cache)


def check_mirror_axes(axes: list[int]) -> list[str]:
    """Return a line if the axes of test-time mirroring are not distinct in-plane axes."""
    if set(axes) <= {0, 1} and len(set(axes)) == len(axes):
        return []
    return [f"mirror_axes={axes}: may contain 0 (rows) and 1 (columns), each once"]


def outside(values: dict[str, Any], **limits: tuple[float, float]) -> list[str]:
    """Return a line for each value that is not within its limits."""
    return [
        f"{name}={values[name]}: must be between {low} and {high}"
        for name, (low, high) in limits.items()
        if not low <= values[name] <= high
    ]


def _unknown_keys(schema: type, values: dict[str, Any], prefix: str) -> list[str]:
    hints, problems = typing.get_type_hints(schema), []
    for name, value in values.items():
        if name not in hints:
            remedy = suggestion(str(name), hints, prefix and f"{prefix}.")
            problems.append(f"{join(prefix, name)}: no such key{remedy}")
        elif is_dataclass(hints[name]) and isinstance(value, dict):
            problems += _unknown_keys(hints[name], value, join(prefix, name))
    return problems


def _check_components(command: Command, values: dict[str, Any], cache: dict[str, Any]) -> list[str]:
    """Check the components in order and build those whose names and types are right."""
    problems: list[str] = []
    built: dict[str, Any] = {}
    for name, section in command.sections.items():
        node = values.get(name)
        if section.optional and not is_on(node, section):
            continue
        about = json.dumps([name, node], default=str)
        if about not in cache:
            cache[about] = check_section(node, name, section)
        problems += cache[about]
        ready = all(key in built for key in section.given if key in command.sections)
        if cache[about] or not section.build or not ready:
            continue
        key = json.dumps([name, node, [values.get(key) for key in section.given]], default=str)
        if key not in cache:
            given = {key: built.get(key, values.get(key)) for key in section.given}
            cache[key] = build(node, name, section, given)
        component, refused = cache[key]
        problems += refused
        if not refused:
            built[name] = component
    return problems + command.check(values, built)
