"""Compose every job of a command line and return the problems of the first invalid one."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from kitsseg.config.components import arguments, locate, renamed
from kitsseg.config.validation import CONFIG_DIR, Command, validate
from kitsseg.data.names import closest, suggestion
from kitsseg.jobs.failures import one_line
from kitsseg.system.optional_packages import is_installed

# Hydra plugins that are installed by extras, by the choice that needs them.
EXTRAS = {
    "hydra/launcher=parallel": ("parallel", "hydra_plugins.hydra_joblib_launcher"),
    "hydra/launcher=slurm": ("slurm", "hydra_plugins.hydra_submitit_launcher"),
    "hydra/sweeper=study": ("optuna", "hydra_plugins.hydra_optuna_sweeper"),
}
# In a larger sweep, every value is checked at least once, but not every combination.
MAX_JOBS = 64
ALONE = "some choices of the sweep lack this key; sweep over the others alone"


def find_problems(
    command: Command, overrides: list[str], multirun: bool = False, config_dir: str | None = None
) -> list[str]:
    """Return the problems of the first invalid job of a run or sweep; empty if all jobs are valid."""
    if config_dir is not None and not Path(config_dir).is_dir():
        return [f"--config-dir {config_dir}: no such folder"]
    with initialize_config_dir(config_dir=str(CONFIG_DIR), version_base="1.3"):
        return _Composer(command, config_dir).check(overrides, multirun)


class _Composer:
    """Composes the jobs of one command line."""

    def __init__(self, command: Command, config_dir: str | None) -> None:
        self.command, self.cache = command, dict[str, Any]()
        self.always = ["hydra.runtime.output_dir=."]  # Hydra sets it when a job starts
        if config_dir is not None:
            folder = str(Path(config_dir).absolute()).replace("\\", "\\\\").replace("'", "\\'")
            self.always.append(f"hydra.searchpath=['file://{folder}']")

    def check(self, overrides: list[str], multirun: bool) -> list[str]:
        parser, parsed = OverridesParser.create(), []
        for text in overrides:
            try:
                parsed.append(parser.parse_override(text))
            except HydraException as error:
                key, equals, value = text.partition("=")
                if not equals:
                    return [f"{text}: not an override; write KEY=VALUE"]
                quoted = value.replace("\\", "\\\\").replace('"', '\\"')
                reason = str(error).splitlines()[0]
                return [f"{text}: cannot be parsed ({reason}); quote the value: '{key}=\"{quoted}\"'"]
        if problems := [problem for override in parsed for problem in self._check_choice(override)]:
            return problems
        fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
        try:
            hydra = self._compose(fixed).hydra
        except Exception as error:  # an invalid YAML file raises the errors of its parser
            return [self._explain_sweep(parsed, fixed) if multirun else self._explain(fixed, error)]
        if multirun := multirun or str(hydra.mode).endswith("MULTIRUN"):
            params = OmegaConf.select(hydra, "sweeper.params", default=None)
            swept = [] if params is None else [f"{key}={value}" for key, value in params.items()]
            parsed = [*map(parser.parse_override, swept), *parsed]
        if "BasicSweeper" in hydra.sweeper.get("_target_", ""):
            for line in (o.input_line for o in parsed if o.is_interval_sweep()):
                return [f"{line}: an interval needs a search: add hydra/sweeper=study"]
        if not multirun and (sweeps := [o for o in parsed if o.is_sweep_override()]):
            line = sweeps[0].input_line or ""
            remedy = "" if "(" in line else f" (or write {line.replace('=', '=[', 1)}] for a list)"
            return [f"{line} is a sweep: add -m{remedy}"]
        values = {o.get_key_element(): _values(o) for o in parsed}  # the last override of a key wins
        fixed_lines = {lines[0] for lines in values.values() if len(lines) == 1}
        added = {o.key_or_group: o.input_line for o in parsed if o.is_add() or o.is_force_add()}
        for job in combinations([lines for lines in values.values() if lines]):
            if problems := self._check_job(job):
                if not (where := " ".join(line for line in job if line not in fixed_lines)):
                    return problems
                lacking = [line for key, line in added.items() if f"'~{key}'" in " ".join(problems)]
                problems = [f"{line}: {ALONE}" for line in lacking if line in fixed_lines] or problems
                return [f"{problem} (in the job {where})" for problem in problems]
        return []

    def _explain_sweep(self, parsed: list[Override], fixed: list[str]) -> str:
        """Return why the overrides of all jobs are invalid without those of a single job.

        Hydra also composes them without the choices of the sweep, which may be the only ones with a key.
        """
        jobs = combinations([lines for o in parsed if (lines := _values(o))])
        errors = [self._error(job) for job in jobs]
        if (error := errors[0]) is not None and all(errors):
            return self._explain(jobs[0], error)
        line = self._up_to_invalid(fixed)[-1]
        only = f"the key is only in choices of the sweep; write '++{line}'"
        return f"{line}: {ALONE if any(errors) else only}"

    def _check_choice(self, override: Override) -> list[str]:
        """Return the problems of a choice: it does not exist, or its plugin is not installed."""
        group, options = override.key_or_group, self._options(override.key_or_group)
        if not options or override.is_delete() or isinstance(value := override.value(), dict):
            return []
        names = value if isinstance(value, list) else [v.partition("=")[2] for v in _values(override)]
        problems = []
        for name in names:
            extra, plugin = EXTRAS.get(f"{group}={name}", ("", ""))
            if extra and not is_installed(plugin):
                problems.append(f"{group}={name}: not installed; pip install 'kitsseg[{extra}]'")
            elif name not in options:
                remedy = suggestion(str(name), options)
                listed = f" ({', '.join(options)})" if closest(str(name), options) else ""
                omit = f"; ~{group} omits it" if name == "null" else ""
                problems.append(f"{group}={name}: no such choice{remedy}{listed}{omit}")
        return problems

    def _options(self, group: str) -> list[str]:
        """Return the choices of a group; empty if it is not a group."""
        if "." in group:
            return []
        loader, name = GlobalHydra.instance().config_loader(), self.command.name
        return list(loader.get_group_options(group, config_name=name, overrides=self.always))

    def _compose(self, lines: list[str]) -> DictConfig:
        return compose(self.command.name, [*self.always, *lines], return_hydra_config=True)

    def _check_job(self, job: list[str]) -> list[str]:
        """Return the problems of the job with these overrides."""
        try:
            cfg = self._compose(job)
        except Exception as error:
            return [self._explain(job, error)]
        HydraConfig.instance().set_config(cfg)  # for interpolations of ${hydra:...}
        with open_dict(cfg):
            del cfg["hydra"]
        return validate(cfg, self.command, self.cache)

    def _error(self, job: list[str]) -> Exception | None:
        try:
            self._compose(job)
        except Exception as error:
            return error
        return None

    def _up_to_invalid(self, job: list[str]) -> list[str]:
        """Return the overrides, groups first, up to the first one that makes the composition fail."""
        groups = [line for line in job if self._is_group(line)]
        lines = groups + [line for line in job if line not in groups]
        counts = range(1, len(lines) + 1)
        return next((lines[:n] for n in counts if self._error(lines[:n])), [])

    def _is_group(self, line: str) -> bool:
        return bool(self._options(line.lstrip("+").partition("=")[0]))

    def _choices_with(self, override: Override, lines: list[str]) -> list[str]:
        """Return the choices of networks, or of the key's own group, that have the key."""
        path, found = override.key_or_group.split("."), []
        for group in dict.fromkeys([path[0], "model"]):
            others = [line for line in lines if line.lstrip("+").partition("=")[0] != group]
            for name in self._options(group):
                with suppress(Exception):
                    node: Any = self._compose([*others, f"{group}={name}"])
                    for part in path[:-1]:
                        node = node[part]
                    found += [f"{group}={name}"] if path[-1] in node else []
        return found

    def _explain(self, job: list[str], error: Exception) -> str:
        """Return a message with the override that makes the composition fail, and the reason."""
        if not (lines := self._up_to_invalid(job)):
            return _reason(error)
        *valid, line = lines
        override, unknown = OverridesParser.create().parse_override(line), ""
        if not self._is_group(line) and not override.is_add():
            cfg = OmegaConf.to_container(self._compose(valid), resolve=False)
            unknown = _unknown_key(override, cfg, lambda: self._choices_with(override, valid))
        error = self._error(lines) or error
        if _reason(error).startswith(f"Could not override '{override.key_or_group}'. No match"):
            choice = str(override.value())
            meant = [s for s in self.command.sections if choice in self._options(s)]
            remedy = f"; did you mean {meant[0]}={choice}?" if meant else ""
            return f"{line}: no such group in this command{remedy}"
        adds = isinstance(override.value(), dict) and not override.is_add()
        remedy = f"; to add keys, write '+{line}'" if adds else ""
        return unknown or f"{line}: {_reason(error)}{remedy}"


def _values(override: Override) -> list[str]:
    """Return one override per value of a sweep; empty if only the sweeper can choose the values."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    if not override.is_discrete_sweep():
        return []
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def combinations(values: list[list[str]]) -> list[list[str]]:
    """Return all jobs of a sweep; above `MAX_JOBS`, a subset that contains every value."""
    if math.prod(map(len, values)) <= MAX_JOBS:
        return [list(job) for job in itertools.product(*values)]
    return [[lines[i % len(lines)] for lines in values] for i in range(max(map(len, values)))]


def _reason(error: BaseException) -> str:
    """Return the message of Hydra's exception, or of the one that it wraps."""
    message = one_line(error.__cause__ if error.__cause__ is not None else error)
    return message.split(" Config search path:")[0]


def _unknown_key(override: Override, cfg: Any, choices: Callable[[], list[str]]) -> str:
    """Return a message about an unknown key, with the closest valid key; empty if the key exists.

    ``choices`` returns the choices with which it exists.
    """
    key, parent, prefix, part = override.key_or_group, cfg, "", ""
    outer: dict[str, Any] = {}
    for part in key.split("."):
        if not isinstance(parent, dict):
            return f"{key}: no such key; {prefix[:-1]} is a value"
        if part not in parent:
            break
        prefix, outer, parent = f"{prefix}{part}.", parent, parent[part]
    else:
        return ""
    accepted = set(arguments(locate(parent["_target_"])[0])) if "_target_" in parent else set()
    if key == prefix + part and part in accepted:
        return f"{key}: the configuration does not set it; add it with +{override.input_line}"
    if not parent and "_target_" in outer:  # a dict with names of the user's own
        return f"{key}: no such key; add it with +{override.input_line}"
    if new := renamed(part, prefix[:-1]):
        return f"{key}: no such key{new}"
    siblings = {str(name) for name in parent if name != "hydra"}
    if (near := closest(part, siblings | accepted)) is not None:
        rest = key.removeprefix(prefix + part)
        return f"{key}: no such key; did you mean {'' if near in siblings else '+'}{prefix}{near}{rest}?"
    if found := choices():
        return f"{key}: no such key here; it belongs to {' or '.join(found)}"
    if elsewhere := [full for full in _keys(cfg) if full.endswith((f".{part}", f"_{part}"))]:
        return f"{key}: no such key; did you mean {' or '.join(elsewhere)}?"
    return f"{key}: no such key{suggestion(part, siblings)}"


def _keys(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield all dotted keys except those of Hydra."""
    for name, value in values.items():
        if prefix or name != "hydra":
            yield f"{prefix}{name}"
            if isinstance(value, dict):
                yield from _keys(value, f"{prefix}{name}.")
