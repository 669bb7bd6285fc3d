"""Check a composed configuration before a run; `validate` returns its problems."""

import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kitsseg.config.components import PACKAGE, Section, build, check_section, join
from kitsseg.data.suggestions import suggestion

# In a wheel, the YAML files are in the package; in a checkout, beside it.
CONFIG_DIR = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"


def is_on(node: Any) -> bool:
    """Whether an optional section is used. An experiment may set values of an unused section."""
    return bool(node) and (not isinstance(node, Mapping) or "_target_" in node)


def plain(value: Any) -> Any:
    """Return a value of a configuration as plain lists, dicts and scalars."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


@dataclass
class PathsConfig:
    """Folders of data and results, used by several commands."""

    data: str = MISSING
    output: str = MISSING


@dataclass(frozen=True)
class Command:
    """What the check needs to know about a command."""

    name: str  # also the name of its YAML file in conf/
    schema: type  # dataclass with the keys and types of the root
    sections: Mapping[str, Section] = field(default_factory=dict)  # components, in build order
    # Returns further problems of the plain values and of the components that could be built.
    check: Callable[[dict[str, Any], dict[str, Any]], list[str]] = lambda values, built: []

    def __post_init__(self) -> None:
        ConfigStore.instance().store(name=f"{self.name}_schema", node=self.schema)


def validate(cfg: DictConfig, command: Command, cache: dict[str, Any]) -> list[str]:
    """Return the problems of a composed configuration (without the node ``hydra``), one line each.

    Names and types are checked against the schema and the signatures of ``_target_``; the classes check
    ranges when they are built. Jobs of a sweep share the ``cache``, so that each is built once.
    """
    removed = {item.name for item in fields(command.schema)} - {str(key) for key in cfg}
    try:
        if missing := sorted(OmegaConf.missing_keys(cfg) | removed):
            return [f"{key}: has no value; set it with {key}=VALUE" for key in missing]
        values = plain(cfg)
    except OmegaConfBaseException as error:
        return [f"{error.full_key}: {str(error).splitlines()[0]}"]
    return _unknown_keys(command.schema, values, "") + _check_components(command, values, cache)


def outside(values: dict[str, Any], **limits: tuple[float, float]) -> list[str]:
    """Return a problem for each value that is not within its limits."""
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
        if section.optional and not (node if section.many else is_on(node)):
            continue
        key = json.dumps([name, node, [values.get(key) for key in section.given]], default=str)
        if key not in cache:
            cache[key] = None, check_section(node, name, section)
            ready = all(key in built for key in section.given if key in command.sections)
            if section.build and ready and not cache[key][1]:
                given = {key: built.get(key, values.get(key)) for key in section.given}
                cache[key] = build(node, name, section, given)
        component, found = cache[key]
        problems += found
        if component is not None:
            built[name] = component
    return problems if problems else command.check(values, built)
