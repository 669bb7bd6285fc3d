"""Check command lines, given the name of the command."""

from importlib import import_module

from kitsseg.config import command_line, overrides
from kitsseg.config.validation import Command


def command(name: str) -> Command:
    found: Command = import_module(f"kitsseg.{name}").COMMAND
    return found


def find_problems(
    name: str, lines: list[str], multirun: bool = False, config_dir: str | None = None
) -> list[str]:
    return overrides.find_problems(command(name), lines, multirun, config_dir)


def check_command_line(name: str, argv: list[str]) -> None:
    command_line.check_command_line(command(name), argv)
