"""What all commands have in common: a wrong command line is refused, whole, before Hydra starts any job
of it, and what goes wrong later is a line, too.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from kitsseg.config.commands import COMMANDS
from kitsseg.config.overrides import CommandLine
from kitsseg.config.validation import CONFIG_DIR, Begin
from kitsseg.jobs.failures import FULL
from kitsseg.system import interrupts, startup, unread


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
        interrupts.as_ever()
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


def check_command_line(command: str, argv: list[str], begin: Begin | None = None) -> None:
    """Return if every job that ``argv`` asks for may run; else list what is wrong and exit (2).

    From here on the process ends quietly when nobody reads what it prints any more.

    Args:
        begin: called with the config of a single job as soon as its values are known to be of the right
            kinds, before its components are imported and looked at, which takes seconds.
    """
    unread.end_quietly()
    args = get_args_parser().parse_args(argv)
    if args.help:
        _remember_choices()
    # What only shows something is Hydra's business, and so is a config that isn't ours.
    shows = (args.help, args.hydra_help, args.cfg, args.info, args.shell_completion, args.resolve)
    foreign = (args.config_name, args.config_path, args.experimental_rerun)
    if any(shows) or any(foreign):
        return
    with startup.uncollected():  # checking a component imports it, and torch with it
        problems = find_problems(command, args.overrides, args.multirun, args.config_dir, begin)
    if problems:
        refuse(command, problems)


def _remember_choices() -> None:
    """Let Hydra's help, with which this process ends, look for its files once.

    It would for each of some 140 questions about a group's choices, which takes most of the time.
    """
    look = ConfigLoaderImpl._parse_overrides_and_create_caching_repo
    known: dict[Any, Any] = {}

    def remembered(loader: ConfigLoaderImpl, config_name: str | None, overrides: list[str]) -> Any:
        key = (config_name, *overrides)
        if key not in known:
            known[key] = look(loader, config_name, overrides)
        return known[key]

    where: Any = ConfigLoaderImpl
    where._parse_overrides_and_create_caching_repo = remembered


def refuse(command: str, problems: list[str]) -> NoReturn:
    """Print the problems, a line each, and exit."""
    several = "\n  - ".join([f"{len(problems)} problems", *problems])
    say(command, problems[0] if len(problems) == 1 else several)
    sys.exit(2)


def find_problems(
    command: str,
    overrides: list[str],
    multirun: bool = False,
    config_dir: str | None = None,
    begin: Begin | None = None,
) -> list[str]:
    """All problems of a command line, each once, and all jobs' if it is a sweep."""
    if config_dir is not None and not Path(config_dir).is_dir():
        return [f"--config-dir {config_dir}: there's no such folder"]
    with _composing(command):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        line = CommandLine(command, hydra.config_loader, config_dir, begin)
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
