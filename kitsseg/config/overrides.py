"""The overrides of a command line: every job that they ask for composed, all that is wrong listed."""

import itertools
import math
from collections.abc import Iterator
from copy import deepcopy
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from kitsseg.config.keys import unknown_key
from kitsseg.config.signatures import nearest, one_line
from kitsseg.config.validation import Begin, validate

# Plugins that aren't installed with kitsseg itself, by the choice that needs one.
EXTRAS = {
    ("hydra/launcher", "parallel"): ("parallel", "joblib_launcher"),
    ("hydra/launcher", "slurm"): ("slurm", "submitit_launcher"),
    ("hydra/sweeper", "study"): ("optuna", "optuna_sweeper"),
}

# From here on a sweep's values are tried one at a time instead of in all combinations.
MAX_JOBS = 128


class CommandLine:
    """The overrides of one command line, taken apart."""

    def __init__(
        self, command: str, loader: ConfigLoader, config_dir: str | None, begin: Begin | None
    ) -> None:
        self.command, self.loader, self.begin = command, loader, begin
        folder = str(Path(config_dir).absolute()) if config_dir is not None else None
        quoted = folder.replace("\\", "\\\\").replace("'", "\\'") if folder is not None else ""
        self.always = [f"hydra.searchpath=['file://{quoted}']"] if folder is not None else []
        self.parser = OverridesParser.create(config_loader=loader)
        self.problems: list[str] = []
        self.unknown_groups: list[str] = []
        self.options: dict[str, list[str]] = {}
        self.composed: dict[tuple[str, ...], DictConfig | str] = {}
        self.hydra: dict[tuple[str, ...], DictConfig] = {}
        self.built: dict[str, Any] = {}

    def check(self, overrides: list[str], multirun: bool) -> list[str]:
        parsed = self._parse(overrides)
        if missing := [problem for override in parsed for problem in _missing_extra(override)]:
            return missing  # nothing can be composed without it
        ours = [override for override in parsed if not override.is_hydra_override()]
        hydra = self._hydra(parsed)
        if hydra is not None:
            multirun = multirun or str(hydra.mode).endswith("MULTIRUN")
            params = OmegaConf.select(hydra, "sweeper.params", default=None) if multirun else None
            swept = [f"{key}={value}" for key, value in (params or {}).items()]
            ours = [*self._parse(swept), *ours]
        if multirun or self.problems:
            self.begin = None
        values: dict[str, list[Override]] = {}  # an override given twice: the last one holds
        for override in ours:
            values[override.get_key_element()] = self._values(override, multirun)
        self._check_jobs({key: each for key, each in values.items() if each})
        return list(dict.fromkeys(self.problems))

    def _parse(self, overrides: list[str]) -> list[Override]:
        """The overrides that are written as such."""
        parsed = []
        for text in overrides:
            try:
                parsed += self.parser.parse_overrides([text])
            except HydraException as error:
                reason = str(error).splitlines()[0]
                hint = "" if "=" in text else "; write KEY=VALUE"
                self.problems.append(f"{text}: can't be read as an override{hint} ({reason})")
        return parsed

    def _hydra(self, parsed: list[Override]) -> DictConfig | None:
        """Hydra's own part of the config; None if only Hydra can say what is wrong with it."""
        fixed = [o for o in parsed if not o.is_sweep_override()]
        hydras = [o.input_line or "" for o in fixed if o.is_hydra_override()]
        # Values can't change it, and without them this is what the first job composes, too.
        given = [o.input_line or "" for o in fixed if o.is_hydra_override() or self._is_group(o)]
        for lines in (tuple(given), tuple(hydras)):
            if not isinstance(self._compose(lines), str):
                return self.hydra[lines]
        return None

    # ---- one override

    def _values(self, override: Override, multirun: bool) -> list[Override]:
        """An override for each value of a sweep, without those that can't be used."""
        line = override.input_line or ""
        if override.is_sweep_override():
            if not multirun:
                plain = override.value_type is ValueType.SIMPLE_CHOICE_SWEEP
                hint = f" (or write {line.replace('=', '=[', 1)}] for a list)" if plain else ""
                self.problems.append(f"{line} is a sweep: add -m{hint}")
            if not override.is_discrete_sweep():  # the sweeper alone knows what it will try
                return []
            key = override.get_key_element()
            each = [f"{key}={value}" for value in override.sweep_string_iterator()]
            parsed = self.parser.parse_overrides(each)
        else:
            parsed = [override]
        return [usable for item in parsed for usable in self._choice(item)]

    def _choice(self, override: Override) -> list[Override]:
        """The override; for a mistyped choice the nearest one, so that the rest can be checked."""
        group, value = override.key_or_group, override.value()
        options = self._options(group)
        if not options or override.is_delete() or isinstance(value, dict):
            return [override]
        names = value if isinstance(value, list) else [value]
        wrong = [name for name in names if name not in options]
        for name in wrong:
            text = "null" if name is None else str(name)
            remedy = nearest(text, options)
            listed = f" ({', '.join(options)})" if remedy.endswith("?") else ""
            listed += f"; ~{group} leaves it out" if name is None else ""
            self.problems.append(f"{group}={text}: there's no such choice{remedy}{listed}")
        if not wrong:
            return [override]
        remedy = nearest(str(wrong[0]), options)
        if len(names) > 1 or not remedy.endswith("?"):
            self.unknown_groups.append(group)
            return []
        choice = remedy.removeprefix("; did you mean ").removesuffix("?")
        return self.parser.parse_overrides([f"{override.get_key_element()}={choice}"])

    # ---- all of them together

    def _check_jobs(self, values: dict[str, list[Override]]) -> None:
        """Compose and validate every job; what only some have is said with the first of them."""
        jobs = list(_combinations(list(values.values())))
        swept = {key for key, each in values.items() if len(each) > 1}
        found: dict[str, list[str]] = {}
        for job in jobs:
            about = [o.input_line or "" for o in job if o.get_key_element() in swept]
            for problem in dict.fromkeys(self._job(job)):
                found.setdefault(problem, []).append(" ".join(about))
        for problem, where in found.items():
            more = f" and {len(where) - 1} more" if len(where) > 1 else ""
            some = f" (in the job {where[0]}{more})" if len(where) < len(jobs) else ""
            self.problems.append(problem + some)

    def _job(self, job: tuple[Override, ...]) -> list[str]:
        """What is wrong with one job."""
        groups = {o.input_line or "": o for o in job if self._is_group(o)}
        cfg, problems = self._compose(tuple(groups)), []
        if isinstance(cfg, str):  # whose fault is it?
            alone = {line: self._compose((line,)) for line in groups}
            problems = [f"{line}: {made}" for line, made in alone.items() if isinstance(made, str)]
            cfg = self._compose(tuple(line for line in groups if not isinstance(alone[line], str)))
            if isinstance(cfg, str):
                return [*problems, cfg]
        cfg = deepcopy(cfg)
        for override in job:
            spoilt = override.key_or_group.split(".")[0] in self.unknown_groups
            if override.input_line in groups or spoilt:
                continue
            if problem := self._apply(override, cfg):
                problems.append(problem)
        return problems + validate(cfg, self.command, self.built, self.begin)

    def _is_group(self, override: Override) -> bool:
        return bool(self._options(override.key_or_group)) and not isinstance(override.value(), dict)

    def _options(self, group: str) -> list[str]:
        """The choices of a group; none if it isn't one."""
        if group not in self.options:
            self.options[group] = self.repository.get_group_options(group)
        return self.options[group]

    @cached_property
    def repository(self) -> IConfigRepository:
        """Where choices are found. Hydra's own function makes one for every question, at 30 ms each."""
        assert isinstance(self.loader, ConfigLoaderImpl)
        return self.loader._parse_overrides_and_create_caching_repo(self.command, self.always)[1]

    def _compose(self, groups: tuple[str, ...]) -> DictConfig | str:
        """The config with these choices, or what Hydra says against them."""
        if groups not in self.composed:
            try:
                cfg = compose(self.command, [*self.always, *groups], return_hydra_config=True)
                with open_dict(cfg):
                    self.hydra[groups] = cfg.pop("hydra")
                self.composed[groups] = cfg
            except Exception as error:  # unreadable YAML, a plugin that isn't there
                cause = error.__cause__
                detail = f": {one_line(cause)}" if isinstance(cause, OmegaConfBaseException) else ""
                message = one_line(error).split(" Config search path:")[0]
                self.composed[groups] = f"{message}{detail}"
        return self.composed[groups]

    def _apply(self, override: Override, cfg: DictConfig) -> str | None:
        """Set one value in ``cfg``, or say why that can't be."""
        if override.type is OverrideType.CHANGE and (problem := unknown_key(override, cfg)):
            return problem
        try:
            # The very function by which Hydra applies overrides, one at a time.
            ConfigLoaderImpl._apply_overrides_to_config([override], cfg)
        except Exception as error:  # a dict for null: omegaconf's AttributeError
            return f"{override.input_line}: {one_line(error.__cause__ or error)}"
        return None


def _missing_extra(override: Override) -> list[str]:
    """The problem with a choice whose plugin isn't installed."""
    extra, plugin = EXTRAS.get((override.key_or_group, str(override.value())), ("", ""))
    if not extra or _is_installed(f"hydra_plugins.hydra_{plugin}"):
        return []
    return [f"{override.input_line}: isn't installed; pip install 'kitsseg[{extra}]'"]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _combinations(values: list[list[Override]]) -> Iterator[tuple[Override, ...]]:
    """The jobs of a sweep; of a huge one every value at least once."""
    if math.prod(map(len, values)) <= MAX_JOBS:
        yield from itertools.product(*values)
        return
    for number in range(max(map(len, values))):
        yield tuple(each[number % len(each)] for each in values)
