"""Compose every job of a command line and return the problems of the first invalid one."""

import itertools
import math
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from kitsseg.config.components import arguments, locate
from kitsseg.config.validation import CONFIG_DIR, Command, validate
from kitsseg.data.suggestions import closest, suggestion
from kitsseg.system import distributed
from kitsseg.system.optional_packages import is_installed
from kitsseg.system.package_messages import error_line

# Hydra plugins that are installed by extras, by the choice that needs them.
EXTRAS = {
    "hydra/launcher=parallel": ("parallel", "hydra_plugins.hydra_joblib_launcher"),
    "hydra/launcher=slurm": ("slurm", "hydra_plugins.hydra_submitit_launcher"),
    "hydra/sweeper=study": ("optuna", "hydra_plugins.hydra_optuna_sweeper"),
}
# In a larger sweep, every value is checked at least once, but not every combination.
MAX_JOBS = 64


def find_problems(
    command: Command, overrides: list[str], multirun: bool = False, config_dir: str | None = None
) -> list[str]:
    """Return the problems of the first invalid job of a run or sweep; empty if all jobs are valid."""
    if config_dir is not None and not Path(config_dir).is_dir():
        return [f"--config-dir {config_dir}: no such folder"]
    with initialize_config_dir(config_dir=str(CONFIG_DIR), version_base="1.3"):
        try:
            return _Composer(command, config_dir).check([_parse(text) for text in overrides], multirun)
        except ValueError as error:
            return [str(error)]


def _parse(text: str) -> Override:
    """Parse an override; raise `ValueError` if it is none, or if it needs a missing plugin."""
    try:
        override: Override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        key, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text}: not an override; write KEY=VALUE") from error
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        reason = f"cannot be parsed ({str(error).splitlines()[0]})"
        remedy = shlex.quote(f'{key}="{quoted}"')
        raise ValueError(f"{text}: {reason}; quote the value: {remedy}") from error
    extra, plugin = EXTRAS.get(f"{override.key_or_group}={override.value()}", ("", ""))
    if extra and not is_installed(plugin):
        raise ValueError(f"{text}: not installed; pip install 'kitsseg[{extra}]'")
    return override


class _Composer:
    """Composes the jobs of one command line."""

    def __init__(self, command: Command, config_dir: str | None) -> None:
        self.command, self.cache, self.folders = command, dict[str, Any](), [CONFIG_DIR]
        self.always = ["hydra.runtime.output_dir=."]  # Hydra sets it when a job starts
        if config_dir is not None:
            self.folders.append(Path(config_dir).absolute())
            folder = str(self.folders[-1]).replace("\\", "\\\\").replace("'", "\\'")
            self.always.append(f"hydra.searchpath=['file://{folder}']")

    def check(self, parsed: list[Override], multirun: bool) -> list[str]:
        """Return the problems of the first invalid job."""
        # Hydra also composes a sweep without the values that it varies.
        fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
        try:
            hydra = self._compose(fixed).hydra
        except Exception as error:  # an invalid YAML file raises the errors of its parser
            first = [lines[0] for o in parsed if (lines := self._values(o))]
            return [self._explain(first if multirun else fixed, error)]
        if hydra.job.chdir:
            where = "in the folder of the job"
            return [f"hydra.job.chdir=true: relative paths would be searched {where}; remove it"]
        if multirun := multirun or hydra.mode == RunMode.MULTIRUN:
            if distributed.world_size() > 1:
                return ["a sweep starts the ranks of its jobs itself; start it without torchrun or srun"]
            params = OmegaConf.select(hydra, "sweeper.params", default=None) or {}
            parsed = [*(_parse(f"{key}={value}") for key, value in params.items()), *parsed]
            if not str(direction := hydra.sweeper.get("direction", "maximize")).endswith("maximize"):
                where = f"hydra.sweeper.direction={direction}"  # the default of Hydra's own optuna
                remedy = "must be maximize, as the objective is a Dice; hydra/sweeper=study sets it"
                return [f"{where}: {remedy}"]
        if "BasicSweeper" in hydra.sweeper.get("_target_", ""):
            for line in (o.input_line for o in parsed if o.is_interval_sweep()):
                return [f"{line}: an interval needs a search: add hydra/sweeper=study"]
        if not multirun and (sweeps := [o for o in parsed if o.is_sweep_override()]):
            line = sweeps[0].input_line or ""
            remedy = "" if "(" in line else f" (or write {line.replace('=', '=[', 1)}] for a list)"
            return [f"{line} is a sweep: add -m{remedy}"]
        # The last override of a key wins.
        values = {o.get_key_element(): self._values(o) for o in parsed}
        swept = {line for lines in values.values() if len(lines) > 1 for line in lines}
        added = [o.key_or_group for o in parsed if o.is_add() or o.is_force_add()]
        for job in combinations([lines for lines in values.values() if lines]):
            if problems := self._check_job(job):
                if not (where := " ".join(line for line in job if line in swept)):
                    return problems
                if any(f"'~{key}'" in text for text in problems for key in added):
                    lacks = (text.split("; ")[0] for text in problems)  # without the remedy for a run
                    problems = [f"{text}; sweep over the others alone" for text in lacks]
                return [f"{text} (in the job {where})" for text in problems]
        return []

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

    def _choices(self, group: str) -> list[str]:
        """Return the names of the YAML files of a group; empty if it is not a group."""
        files = (path for folder in self.folders for path in (folder / group).glob("*.yaml"))
        return sorted({path.stem for path in files})

    def _values(self, override: Override) -> list[str]:
        """Return one override per value of a sweep; empty if only the sweeper can choose the values."""
        if not override.is_sweep_override():
            return [override.input_line or ""]
        if not override.is_discrete_sweep():
            return []
        key, value = override.get_key_element(), override.value()
        if not isinstance(value, Glob):
            return [f"{key}={each}" for each in override.sweep_string_iterator()]
        if not (names := value.filter(self._choices(override.key_or_group))):
            raise ValueError(f"{override.input_line}: no such choice")
        return [f"{key}={name}" for name in names]

    def _explain(self, job: list[str], error: Exception) -> str:
        """Return a message with the first override that makes the composition fail, and the reason."""
        # Hydra composes the choices of groups first.
        lines = sorted(job, key=lambda line: not self._choices(_parse(line).key_or_group))
        cfg = self._compose([])
        for count, line in enumerate(lines):
            try:
                cfg = self._compose(lines[: count + 1])
            except Exception as first:
                return self._explain_override(_parse(line), first, cfg, lines[:count])
        message = str(error).splitlines()[0]
        return f"{message} Only choices of the sweep have this key; write ++KEY=VALUE"

    def _explain_override(
        self, override: Override, error: Exception, cfg: DictConfig, others: list[str]
    ) -> str:
        """Return why an override is invalid, given the valid ones before it and what they compose."""
        line, key, value = override.input_line, override.key_or_group, override.value()
        is_group = bool(self._choices(key)) and not isinstance(value, dict)
        if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
            group, _, name = error.missing_cfg_file.rpartition("/")
            where = "" if key == group else f"{group}={name}: "  # in a file that the choice names
            listed = f" ({', '.join(error.options)})" if closest(name, error.options) else ""
            return f"{line}: {where}no such choice{suggestion(name, error.options)}{listed}"
        if _reason(error).startswith(f"Could not override '{key}'. No match"):
            meant = [s for s in self.command.sections if value in self._choices(s)]
            remedy = f"; did you mean {meant[0]}={value}?" if meant else ""
            return f"{line}: no such group in this command{remedy}"
        if not is_group and not override.is_add():
            known = dict(_keys(cfg))
            if known.get(key) != "":
                return f"{key}: {self._explain_key(override, known, others)}"
        remedy = f"; ~{key} omits it" if value is None else ""
        if isinstance(value, dict) and not override.is_add():
            remedy = f"; to add keys, write '+{line}'"
        return f"{line}: {_reason(error)}{remedy}"

    def _explain_key(self, override: Override, known: dict[str, str], others: list[str]) -> str:
        """Return a message about a key that the configuration does not set, with the closest one."""
        key = override.key_or_group
        if key in known or any(key.startswith(other) for other in known if other.endswith(".")):
            return f"the configuration does not set it; add it with +{override.input_line}"
        parent, dot, name = key.rpartition(".")
        siblings = [other.rpartition(".")[2] for other in known if other.rpartition(".")[0] == parent]
        if near := closest(name, siblings):
            near = f"{parent}{dot}{near}"
            return f"no such key; did you mean {known[near]}{near}?"
        if found := " or ".join(self._choices_with(key, others)):
            return f"no such key here; it belongs to {found}"
        section = self.command.sections.get(key.partition(".")[0])
        if section is not None and section.many and parent not in known:  # an entry of the user's own
            return f"no such key; add it with +{override.input_line}"
        ends = f".{name}", f"_{name}"
        elsewhere = [other for other in known if other.endswith(ends) and not known[other]]
        if 0 < len(elsewhere) <= 3:
            return f"no such key; did you mean {' or '.join(elsewhere)}?"
        return f"no such key{suggestion(name, siblings)}"

    def _choices_with(self, key: str, lines: list[str]) -> Iterator[str]:
        """Yield the choices of networks, or of the key's own group, that have the key."""
        for group in dict.fromkeys([key.partition(".")[0], "model"]):
            others = [line for line in lines if _parse(line).key_or_group != group]
            for name in self._choices(group):
                with suppress(Exception):
                    cfg = self._compose([*others, f"{group}={name}"])
                    if (key, "") in _keys(cfg):
                        yield f"{group}={name}"


def combinations(values: list[list[str]]) -> list[list[str]]:
    """Return all jobs of a sweep; above `MAX_JOBS`, a subset that contains every value."""
    if math.prod(map(len, values)) <= MAX_JOBS:
        return [list(job) for job in itertools.product(*values)]
    return [[lines[i % len(lines)] for lines in values] for i in range(max(map(len, values)))]


def _reason(error: BaseException) -> str:
    """Return the message of Hydra's exception, or of the one that it wraps."""
    message = error_line(error.__cause__ if error.__cause__ is not None else error, None)
    return message.split(" Config search path:")[0]


def _keys(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted keys of a dict with "", and those that components accept besides with "+".

    A key that ends with a dot is an empty dict for names of the user's own.
    """
    values: Any = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
    names = {str(name): "" for name in values if prefix or name != "hydra"}
    if "_target_" in values:
        names = {name: "+" for name in arguments(locate(values["_target_"])[0])} | names
    for name, plus in names.items():
        yield f"{prefix}{name}", plus
        if isinstance(inner := values.get(name), dict):
            yield from _keys(inner, f"{prefix}{name}.")
    if not values and prefix:
        yield prefix, "+"
