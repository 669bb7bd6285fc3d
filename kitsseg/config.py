"""What a config may say: its schema, and `validate`, which finds all problems before a run.

Names and plain types are checked here against the schema and against the signatures of the classes
that ``_target_`` names; ranges belong to those classes, so the cheap ones are built. Only hydra and
omegaconf are imported with this module: ``--help`` must not wait for torch.
"""

import json
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, Container, DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from kitsseg.components import Section, build, section_problems
from kitsseg.labels import REGIONS
from kitsseg.signatures import Opaque, has_opaque, join, nearest, one_line, type_name

_PACKAGE = Path(__file__).parent
# In a wheel the YAML files lie inside the package, in a checkout beside it.
CONFIG_DIR = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"


@dataclass
class PathsConfig:
    """Where things lie."""

    data: str = MISSING
    output: str = MISSING


@dataclass
class PrepareConfig:
    """The root of ``conf/prepare.yaml``."""

    paths: PathsConfig = field(default_factory=PathsConfig)
    data: dict[str, Any] = MISSING


@dataclass
class DownloadConfig:
    """The root of ``conf/download.yaml``."""

    root: str = MISSING
    cases: Any = MISSING
    workers: int = MISSING
    check: bool = MISSING
    labels_from: str | None = None
    imaging_revision: str = MISSING
    labels_revision: str = MISSING
    imaging_url: str = MISSING
    labels_url: str = MISSING
    clinical_url: str = MISSING
    timeout_s: float = MISSING
    retries: int = MISSING
    backoff_s: float = MISSING


@dataclass
class CheckpointConfig:
    """Which epoch's weights are the result of a stage: the best by what is logged as `monitor`."""

    monitor: str = MISSING
    mode: str = MISSING


@dataclass
class TrainConfig:
    """The root of ``conf/train.yaml``. Components are open dicts: ``_target_`` is their schema."""

    name: str = MISSING
    seed: int = MISSING
    channels_last: bool = MISSING
    compile: bool = MISSING
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    mirror_axes: list[int] = MISSING
    shallow: list[str] | None = None
    paths: PathsConfig = field(default_factory=PathsConfig)
    data: dict[str, Any] = MISSING
    split: dict[str, Any] = MISSING
    window: dict[str, Any] = MISSING
    augmentation: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    loss: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    scheduler: dict[str, Any] = MISSING
    finetune: dict[str, Any] | None = None
    trainer: dict[str, Any] = MISSING
    logger: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)


class Command(NamedTuple):
    """The schema of a command's root, its components in the order of building, and what is left."""

    schema: type
    sections: Mapping[str, Section]
    check: Callable[[dict[str, Any], dict[str, Any]], list[str]]


def _check_train(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """What concerns more than one section, or none."""
    problems = []
    seed = plain.get("seed")
    if type(seed) is int and not 0 <= seed < 2**32:
        problems.append(f"seed: {seed} must lie in [0, 2**32)")
    allowed = {
        "mode": ["min", "max"],
        "monitor": ["val/loss", *(f"val/{region}_dice" for region in REGIONS)],
    }
    for name, value in (plain.get("checkpoint") or {}).items():
        if type(value) is str and value not in allowed.get(name, [value]):
            problems.append(f"checkpoint.{name}: {value} must be one of {', '.join(allowed[name])}")
    axes = plain.get("mirror_axes")
    if isinstance(axes, list) and (not set(axes) <= {0, 1} or len(set(axes)) < len(axes)):
        problems.append(f"mirror_axes: {axes} may hold 0 (rows) and 1 (columns), each once")
    frozen = getattr(built.get("finetune"), "frozen", None)
    if frozen is not None and "model" in built:
        from kitsseg.finetune import check_frozen

        try:
            check_frozen(built["model"], frozen)
        except ValueError as error:
            problems.append(one_line(error))
    return problems


def _check_download(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """The ranges of the values, which no class stands for."""
    from kitsseg.data.kits19 import parse_cases

    problems = []
    if not any(has_opaque(cases := plain.get("cases"))):
        try:
            parse_cases(cases)
        except ValueError as error:
            problems.append(str(error))
    limits = {"workers": (1, 64), "retries": (0, 100), "timeout_s": (0.1, 3600), "backoff_s": (0, 3600)}
    for name, (low, high) in limits.items():
        value = plain.get(name)
        if isinstance(value, (int, float)) and not low <= value <= high:
            problems.append(f"{name}: {value} must lie in [{low}, {high}]")
    for name in ("imaging_url", "labels_url", "clinical_url"):
        url = plain.get(name)
        if type(url) is not str:
            continue
        try:
            varies = url.format(case=0) != url.format(case=1)
        except (LookupError, ValueError, AttributeError) as error:
            problems.append(f"{name}: {url}: {{case:05d}} alone may stand in braces ({error!r})")
            continue
        if not url.startswith(("http://", "https://")):
            problems.append(f"{name}: {url} must begin with http:// or https://")
        if not varies and name != "clinical_url":
            problems.append(f"{name}: {url} must hold {{case:05d}}, or all cases would be the same file")
    return problems


# What every command that opens data gives to its data module.
_DATA = Section(given=("split", "augmentation", "seed"))

COMMANDS = {
    "download": Command(DownloadConfig, {}, _check_download),
    "prepare": Command(PrepareConfig, {"data": _DATA}, lambda plain, built: []),
    "train": Command(
        TrainConfig,
        {
            "window": Section(),
            "split": Section(),
            "augmentation": Section(),
            "model": Section(),
            "loss": Section(),
            "finetune": Section(optional=True),
            "data": _DATA,
            "optimizer": Section(given=("params",), partial=True),
            "scheduler": Section(given=("optimizer",), offered=("total_steps",), partial=True),
            "trainer": Section(
                given=("logger", "callbacks"), resolved={"precision": "auto"}, build=False
            ),
            "logger": Section(optional=True, many=True, build=False),
            "callbacks": Section(optional=True, many=True, build=False),
        },
        _check_train,
    ),
}

for _name, _command in COMMANDS.items():
    ConfigStore.instance().store(name=f"{_name}_schema", node=_command.schema)


def slug(*parts: Any) -> str:
    """A folder's name of at most 120 characters: the parts, without what a shell trips over."""
    cleaned = (re.sub(r"[^A-Za-z0-9.=,+_-]+", "-", str(part)) for part in parts)
    return "_".join(part for part in cleaned if part)[:120]


def channels(neighbours: int) -> int:
    """How many channels a network sees: the slice and ``neighbours`` on either side."""
    return 2 * neighbours + 1


OmegaConf.register_new_resolver("slug", slug, replace=True)
OmegaConf.register_new_resolver("channels", channels, replace=True)


def is_on(node: Any, section: Section | None = None) -> bool:
    """Whether an optional section is chosen: values for it may be left over from an experiment."""
    many = section is not None and section.many
    return bool(node) and (many or not isinstance(node, Mapping) or "_target_" in node)


def validate(cfg: DictConfig, command: str = "train", cache: dict[str, Any] | None = None) -> list[str]:
    """All problems of a composed config, one line each; empty if there are none.

    Args:
        cfg: the config as composed, interpolations and all.
        command: whose config it is.
        cache: give the same dict for the jobs of a sweep: what they share is then built once.
    """
    schema, sections, check = COMMANDS[command]
    cache = {} if cache is None else cache
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
    problems += _schema_problems(schema, plain, "")
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
