"""Run a command: check its command line before Hydra starts a job, and report errors in one line."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from kitsseg.config.overrides import find_problems
from kitsseg.config.validation import CONFIG_DIR, Command
from kitsseg.jobs.failures import DISK_FULL


def run_command(command: Command, run: Callable[[DictConfig], int | None], hint: str) -> None:
    """Check the command line, call ``run`` with the configuration, and exit with the code it returns.

    Errors are printed in one line, with the ``hint`` after an interrupt or on a full disk.
    """
    for stream in (sys.stdout, sys.stderr):  # file names may not be valid in their encoding
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    check_command_line(command, sys.argv[1:])

    @hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=command.name)
    def job(cfg: DictConfig) -> None:
        sys.exit(attempt(command.name, run, cfg, hint))

    with ending_with_reader():
        job()


@contextmanager
def ending_with_reader() -> Iterator[None]:
    """Exit without a message if the program that reads the output, such as ``head``, has ended."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left to flush
        sys.exit(1)


def attempt(command: str, run: Callable[[DictConfig], int | None], cfg: DictConfig, hint: str) -> int:
    """Run a command, print errors, and return the exit code."""
    try:
        with ending_with_reader():
            return run(cfg) or 0
    except ValueError as error:
        for line in str(error).splitlines():
            print_error(command, line)
        return 1
    except OSError as error:
        where = cfg.get("output", cfg.get("root")) if error.filename is None else error.filename
        reason = f"{'' if where is None else f'{where}: '}{error.strerror or error}"
        remedy = f"make room: {hint}" if error.errno in DISK_FULL else "set a path that you can access"
        print_error(command, f"{reason}; {remedy}")
        return 1
    except KeyboardInterrupt:
        print_error(command, f"interrupted; {hint}")
        return 130


def print_error(command: str, line: str) -> None:
    """Print one line to standard error."""
    print(f"kitsseg.{command}: {line}", file=sys.stderr)


def check_command_line(command: Command, argv: list[str]) -> None:
    """Check all jobs of a command line. If one is invalid, print its problems and exit with 2."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--run", "-r", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    args, overrides = parser.parse_known_args(argv)
    if any(text.startswith("-") for text in overrides):
        return  # --help and --cfg only print; with --config-name, the schema is unknown
    places = [i for i, text in enumerate(argv) if text in overrides]
    if places and places[-1] - places[0] >= len(places):
        refuse(command.name, "options such as -m must be before or after all values, not between them")
    if problems := find_problems(command, overrides, args.multirun, args.config_dir):
        refuse(command.name, *problems)


def refuse(command: str, *problems: str) -> NoReturn:
    """Print problems, one per line, and exit with 2."""
    for problem in problems:
        print_error(command, problem)
    sys.exit(2)
