"""What all commands have in common: a wrong command line is refused, whole, before Hydra starts any job
of it, and what goes wrong later is a line, too.
"""

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from kitsseg import unread
from kitsseg.commands import COMMANDS
from kitsseg.config import CONFIG_DIR, validate
from kitsseg.failures import FULL
from kitsseg.keys import unknown_key
from kitsseg.signatures import nearest, one_line

# Plugins that aren't installed with kitsseg itself, by the choice that needs one.
EXTRAS = {
    ("hydra/launcher", "parallel"): ("parallel", "joblib_launcher"),
    ("hydra/launcher", "slurm"): ("slurm", "submitit_launcher"),
    ("hydra/sweeper", "study"): ("optuna", "optuna_sweeper"),
}

# From here on a sweep's values are tried one at a time instead of in all combinations.
MAX_JOBS = 128


def hand_over(command: str, run: Callable[[DictConfig], int | None], again: str) -> None:
    """Refuse a wrong command line; then let Hydra do what it asks for, and exit with the code of that.

    Args:
        run: does the work. Its `ValueError`, a line a problem, and its `OSError` are told and end it.
        again: what a user who interrupts it, or whose disk fails, is to know.
    """
    check_command_line(command, sys.argv[1:])

    @hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=command)
    def job(cfg: DictConfig) -> None:
        sys.exit(attempt(command, run, cfg, again))

    job()


def attempt(command: str, run: Callable[[DictConfig], int | None], cfg: DictConfig, again: str) -> int:
    """Run it, say what goes wrong; the exit code."""
    try:
        return run(cfg) or 0
    except ValueError as error:
        for line in str(error).splitlines():
            say(command, line)
        return 1
    except OSError as error:
        where = error.filename if error.filename is not None else cfg.get("output", cfg.get("root"))
        place = "" if where is None else f"{where}: "
        room = "make room: " if error.errno in FULL else ""
        say(command, f"{place}{error.strerror or error}; {room}{again}")
        return 1
    except KeyboardInterrupt:
        say(command, f"interrupted; {again}")
        return 130


def say(command: str, line: str) -> None:
    """One line where the user looks for what went wrong."""
    print(f"kitsseg.{command}: {line}", file=sys.stderr)


def check_command_line(command: str, argv: list[str]) -> None:
    """Return if every job that ``argv`` asks for may run; else list what is wrong and exit (2).

    From here on the process ends quietly when nobody reads what it prints any more.
    """
    unread.end_quietly()
    args = get_args_parser().parse_args(argv)
    # What only shows something is Hydra's business, and so is a config that isn't ours.
    shows = (args.help, args.hydra_help, args.cfg, args.info, args.shell_completion, args.resolve)
    foreign = (args.config_name, args.config_path, args.experimental_rerun)
    if any(shows) or any(foreign):
        return
    if problems := find_problems(command, args.overrides, args.multirun, args.config_dir):
        refuse(command, problems)


def refuse(command: str, problems: list[str]) -> NoReturn:
    """Print the problems, a line each, and exit."""
    several = "\n  - ".join([f"{len(problems)} problems", *problems])
    say(command, problems[0] if len(problems) == 1 else several)
    sys.exit(2)


def find_problems(
    command: str, overrides: list[str], multirun: bool = False, config_dir: str | None = None
) -> list[str]:
    """All problems of a command line, each once, and all jobs' if it is a sweep."""
    if config_dir is not None and not Path(config_dir).is_dir():
        return [f"--config-dir {config_dir}: there's no such folder"]
    with _composing(command):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        line = _CommandLine(command, hydra.config_loader, config_dir)
        return line.check(overrides, multirun)


@contextmanager
def _composing(command: str) -> Iterator[None]:
    """Composition with an open root: a schema stops at the first wrong key, `validate` lists all.

    Afterwards everything is as it was, so that `hydra.main` starts afresh.
    """
    store, schema = ConfigStore.instance(), COMMANDS[command].schema
    store.store(f"{command}_schema", OmegaConf.to_container(OmegaConf.structured(schema)))
    try:
        with initialize_config_dir(config_dir=str(CONFIG_DIR), version_base="1.3"):
            yield
    finally:
        store.store(f"{command}_schema", schema)


class _CommandLine:
    """The overrides of one command line, taken apart."""

    def __init__(self, command: str, loader: ConfigLoader, config_dir: str | None) -> None:
        self.command, self.loader = command, loader
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
        return problems + validate(cfg, self.command, self.built)

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
