"""`validate`, which finds all problems of a config before a run.

Names and plain types are checked against `kitsseg.config.schema` and against the signatures of the classes
that ``_target_`` names; ranges belong to those classes, so the cheap ones are built. Only hydra and
omegaconf are imported with this module: ``--help`` must not wait for torch.
"""

import hashlib
import json
import re
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, Container, DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from kitsseg.config.commands import COMMANDS
from kitsseg.config.components import Section, build, section_problems
from kitsseg.config.signatures import Opaque, has_opaque, join, nearest, type_name
from kitsseg.system import gpus

Look = Callable[[str, dict[str, Any]], list[str] | None]  # as `look`; None: can't say
Begin = Callable[[dict[str, Any]], Look | None]  # see `validate`

_PACKAGE = Path(__file__).parents[1]
# In a wheel the YAML files lie inside the package, in a checkout beside it.
CONFIG_DIR = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"


def job_folder(overrides: str) -> str:
    """A folder named by what sets a job, at most 120 characters.

    It holds nothing that a shell or Hydra would want quoted: it is what later commands are given.
    """
    if not overrides:
        return "default"
    name = re.sub(r"[^A-Za-z0-9.+_-]+", "-", overrides)
    if name == overrides and len(name) <= 120:
        return name
    # Cleaned or cut, two may be alike that weren't.
    return f"{name[:111]}-{hashlib.sha256(overrides.encode()).hexdigest()[:8]}"


def channels(neighbours: int) -> int:
    """How many channels a network sees: the slice and ``neighbours`` on either side."""
    return 2 * neighbours + 1


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
OmegaConf.register_new_resolver("gpus", gpus.count, replace=True)
OmegaConf.register_new_resolver("channels", channels, replace=True)


def is_on(node: Any, section: Section | None = None) -> bool:
    """Whether an optional section is chosen: values for it may be left over from an experiment."""
    many = section is not None and section.many
    return bool(node) and (many or not isinstance(node, Mapping) or "_target_" in node)


def plain(value: Any) -> Any:
    """A config's value as plain lists, dictionaries and scalars."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def validate(
    cfg: DictConfig,
    command: str = "train",
    cache: dict[str, Any] | None = None,
    begin: Begin | None = None,
) -> list[str]:
    """All problems of a composed config, one line each; empty if there are none.

    Args:
        cfg: the config as composed, interpolations and all.
        command: whose config it is.
        cache: give the same dict for the jobs of a sweep: what they share is then built once.
        begin: called with the plain config when all that can be said without its components was said,
            unless that is something; may return who looks at these first.
    """
    unresolved: dict[str, str] = {}
    raw = typing.cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=False))
    raw.pop("hydra", None)
    plain = _plain(cfg, raw, "", unresolved)
    problems = [
        f"{key}: {message}"
        for key, message in unresolved.items()
        # One mistake, one line: what refers to another broken value isn't broken itself.
        if not any(name in unresolved for name in re.findall(r"\$\{([\w.]+)\}", message))
    ]
    problems += _schema_problems(COMMANDS[command].schema, plain, "")
    if begin is not None and not problems:
        # A component's values may be wrong, too, and a process not begin: that is told later.
        with suppress(ValueError, TypeError, LookupError, OSError):
            first = begin(plain)
            found = None if first is None else first(command, plain)
            if found is not None:
                return found
    return problems + look(command, plain, {} if cache is None else cache)


def look(command: str, plain: dict[str, Any], cache: dict[str, Any]) -> list[str]:
    """What importing and building the components of a plain config tells: problems, one line each.

    Args:
        cache: see `validate`.
    """
    _, sections, check = COMMANDS[command]
    problems: list[str] = []
    built: dict[str, Any] = {}
    for name, section in sections.items():
        node = plain.get(name)
        if isinstance(node, Opaque) or (section.optional and not is_on(node, section)):
            continue
        about = json.dumps([name, node], default=str)
        if about not in cache:
            cache[about] = section_problems(node, name, section)
        found = cache[about]
        problems += found
        needed = {key: built.get(key, plain.get(key)) for key in section.given}
        ready = all(key in built for key in section.given if key in sections)
        if found or not section.build or not ready or any(has_opaque(node)):
            continue
        key = json.dumps([name, node, [plain.get(key) for key in section.given]], default=str)
        if key not in cache:
            cache[key] = build(node, name, section, needed)
        made, refused = cache[key]
        problems += refused
        if not refused:
            built[name] = made
    return problems + check(plain, built)


# ---- values


def _plain(node: Any, raw: Any, key: str, problems: dict[str, str]) -> Any:
    """A config as plain containers, its interpolations resolved as far as that is possible.

    Args:
        node: the config.
        raw: the same as plain containers with its interpolations as they are written.
        key: where it lies.
        problems: what couldn't be resolved is added here, by key.
    """
    if not isinstance(raw, (dict, list)):
        return raw
    values = {
        name: _value(node, name, value, join(key, name), problems)
        for name, value in (raw.items() if isinstance(raw, dict) else enumerate(raw))
    }
    return values if isinstance(raw, dict) else list(values.values())


def _value(node: Any, name: Any, raw: Any, key: str, problems: dict[str, str]) -> Any:
    """One value of a config; a problem instead of an error."""
    if raw == "???":
        problems[key] = f"has no value; give it one with {key}=VALUE"
        return Opaque(raw)
    if not isinstance(raw, str) or "${" not in raw:
        return _plain(node._get_node(name), raw, key, problems)
    if "${hydra:" in raw:
        return Opaque(raw)
    try:
        value = node[name]
        if isinstance(value, Container):
            return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
        return value
    except (InterpolationToMissingValueError, MissingMandatoryValue):
        pass  # what it points to is reported itself
    except OmegaConfBaseException as error:
        if "HydraConfig was not set" not in str(error):
            problems[key] = f"{raw}: {str(error).splitlines()[0]}"
    return Opaque(raw)


def _schema_problems(schema: type, plain: dict[str, Any], prefix: str) -> list[str]:
    """Keys that the schema hasn't, and plain values of another type than it says."""
    hints, typed = typing.get_type_hints(schema), OmegaConf.structured(schema)
    problems = []
    for name, value in plain.items():
        key = join(prefix, name)
        if name not in hints:
            remedy = nearest(str(name), hints, prefix and f"{prefix}.")
            problems.append(f"{key}: no such key{remedy}")
        elif is_dataclass(hints[name]) and isinstance(value, dict):
            problems += _schema_problems(typing.cast(type, hints[name]), value, key)
        elif not isinstance(value, Opaque):
            try:  # omegaconf's own conversions hold: "3" is an int, "yes" a bool
                typed[name] = value
            except OmegaConfBaseException:
                problems.append(f"{key}: expected {type_name(hints[name])}, got {value!r}")
            else:
                plain[name] = value if isinstance(value, (dict, list)) else typed[name]
    required = (item.name for item in fields(schema) if item.default == MISSING)
    missing = (join(prefix, name) for name in required if name not in plain)
    return problems + [f"{key}: is missing; give it with {key}=VALUE" for key in missing]
