"""Messages about single overrides."""

import shlex

import pytest

from tests.helpers.commands import find_problems


@pytest.mark.parametrize("line", ["callbacks.stop._target_=x.Y", "logger.more.save_dir=x"])
def test_entry_of_the_users_own_is_added_with_a_plus_sign(line: str) -> None:
    assert find_problems("train", [line]) == [
        f"{line.partition('=')[0]}: no such key; add it with +{line}"
    ]


def test_many_similar_keys_are_not_listed() -> None:
    assert find_problems("train", ["model.block._target_=x.Y"]) == ["model.block._target_: no such key"]


@pytest.mark.parametrize("folder", ["KiTS (copy)", "Müller's", 'a "b"', "a\\b (c)"])
def test_quotes_of_the_remedy_are_those_of_a_shell(folder: str) -> None:
    (problem,) = find_problems("train", [f"data.root={folder}"])
    (line,) = shlex.split(problem.partition("quote the value: ")[2])
    assert find_problems("train", [line]) == []


def test_jobs_run_in_the_folder_of_the_command() -> None:
    (problem,) = find_problems("train", ["hydra.job.chdir=true", "init_from=best.ckpt"])
    assert problem.startswith("hydra.job.chdir=true: relative paths would be searched in the folder of")
