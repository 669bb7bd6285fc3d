"""Options of Hydra's command line are accepted, or refused in one line."""

from pathlib import Path

import pytest

from tests.commands.test_train import SMALL
from tests.helpers.commands import check_command_line, find_problems
from tests.helpers.forks import command


@pytest.mark.parametrize("option", ["hydra.run.dir=/dev/null/x", "hydra.sweep.dir=/dev/null/x"])
def test_folder_that_cannot_be_created_is_reported_in_one_line(tmp_path: Path, option: str) -> None:
    more = ["-m"] if "sweep" in option else []
    done = command(tmp_path, *more, *SMALL, "model=unet", "logger=none", option)
    assert done.returncode == 1
    assert (
        done.stderr == "kitsseg.train: /dev/null/x: Not a directory; set a folder that you can write\n"
    )


def test_keys_are_added_to_a_dictionary_with_a_plus() -> None:
    (problem,) = find_problems("train", [*SMALL, "logger=wandb", "logger.wandb.settings={silent: true}"])
    assert problem.endswith("to add keys, write '+logger.wandb.settings={silent: true}'")
    remedy = problem.rpartition("write ")[2].strip("'")
    assert find_problems("train", [*SMALL, "logger=wandb", remedy]) == []


def test_option_between_values_is_reported_in_one_line(tmp_path: Path) -> None:
    done = command(tmp_path, "model=unet", "-m", "seed=0,1")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "options such as -m must be before or after all values" in done.stderr


def test_deletions_are_not_options() -> None:
    removed = ["model=unet", "~callbacks.progress", "seed=1"]
    for argv in (removed, ["-m", *removed], [*removed, "-m"]):
        check_command_line("train", argv)
    with pytest.raises(SystemExit):
        check_command_line("train", ["model=unet", "-m", "~callbacks.progress"])


def test_an_interval_needs_a_search() -> None:
    (problem,) = find_problems("train", [*SMALL, "optimizer.lr=interval(0.1,1)"], multirun=True)
    assert problem == "optimizer.lr=interval(0.1,1): an interval needs a search: add hydra/sweeper=study"
