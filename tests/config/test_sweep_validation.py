"""Every job of a sweep is checked before the first one starts, and the first problem is reported."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import open_dict

from kitsseg.config import overrides, validation
from tests import ROOT
from tests.config.test_validation import NO_ATN_UNET
from tests.helpers.commands import find_problems


def test_valid_sweep_has_no_problems() -> None:
    assert find_problems("train", ["model=unet,attn_unet", "seed=range(0,3)"], multirun=True) == []


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["seed=0,-1"], "seed=-1: must be at least 0 and below 2**32 (in the job seed=-1)"),
        (["model=unet,atn_unet"], NO_ATN_UNET),
        (
            ["model=attn_unet,unet", "seed=0,1", "model.gate_ratio=1"],
            "model.gate_ratio: no such key here; it belongs to model=attn_unet or model=attn_unet3d "
            "(in the job model=unet seed=0)",
        ),
        (["data.batch_size=4,x"], "data.batch_size='x': must be a valid integer"),
        (["seed=0,1,2", "window.sd_hu=0"], "window.sd_hu=0: must be above 0 (in the job seed=0)"),
    ],
)
def test_every_job_of_a_sweep_is_checked(lines: list[str], problem: str) -> None:
    (found,) = find_problems("train", lines, multirun=True)
    assert found.startswith(problem)


def test_key_of_swept_models_needs_plus_signs() -> None:
    lines, patch = ["model=unet3d,attn_unet3d", "seed=0,1"], "data.patch=[16,32,32]"
    (problem,) = find_problems("train", [*lines, patch], multirun=True)
    only = "Only choices of the sweep have this key; write ++KEY=VALUE"
    assert problem == f"Could not override 'data.patch'. {only}"
    assert find_problems("train", [*lines, f"++{patch}"], multirun=True) == []
    misspelt = find_problems("train", [*lines, "data.ptch=[16,32,32]"], multirun=True)
    assert misspelt == ["data.ptch: no such key; did you mean data.patch?"]


@pytest.mark.parametrize(
    ("lines", "lacks"),
    [
        (["++data.patch=[16,32,32]"], "data.patch: {0} has no such argument; "),
        (["++data.patch=[1,2,3]", "+data.centred=1"], "data: {0} has no arguments patch, centred; "),
    ],
)
def test_key_that_some_swept_models_lack_needs_a_sweep_of_its_own(lines: list[str], lacks: str) -> None:
    (problem,) = find_problems("train", ["model=unet,unet3d", *lines], multirun=True)
    assert problem.startswith(lacks.format("kitsseg.data.slices.datamodule.SliceDataModule"))
    assert problem.endswith("; sweep over the others alone (in the job model=unet)")
    assert "~" not in problem


def test_sweep_that_cannot_be_parsed_in_a_config_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nhydra: {sweeper: {params: {name: 'a (copy)'}}}\n"
    )
    (problem,) = find_problems("train", ["experiment=mine"], multirun=True, config_dir=str(tmp_path))
    assert problem.startswith("name=a (copy): cannot be parsed") and "\n" not in problem


def test_sweep_in_a_config_file_is_checked(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nhydra: {sweeper: {params: {seed: '0,-1'}}}\n"
    )
    run = find_problems("train", ["experiment=mine"], config_dir=str(tmp_path))
    sweep = find_problems("train", ["experiment=mine"], multirun=True, config_dir=str(tmp_path))
    assert run == []
    assert sweep == ["seed=-1: must be at least 0 and below 2**32 (in the job seed=-1)"]


def test_glob_lists_the_choices_of_a_group(tmp_path: Path) -> None:
    (tmp_path / "window").mkdir()
    (tmp_path / "window" / "mine.yaml").write_text("defaults: [kits]\nsd_hu: 0\n")
    folder = str(tmp_path)
    assert find_problems("train", ["window=glob(k*)"], multirun=True, config_dir=folder) == []
    found = find_problems("train", ["window=glob(*,exclude=auto)"], multirun=True, config_dir=folder)
    assert found == ["window.sd_hu=0: must be above 0 (in the job window=mine)"]
    assert find_problems("train", ["window=glob(x*)"], multirun=True) == [
        "window=glob(x*): no such choice"
    ]


def test_interval_sweeps_are_not_enumerated() -> None:
    lines = ["optimizer.lr=interval(0,1)", "hydra/sweeper=study"]
    assert find_problems("train", lines, multirun=True) == []


@pytest.mark.parametrize("line", ["hydra/sweeper=optuna", "hydra.sweeper.direction=minimize"])
def test_search_that_would_minimise_the_dice_is_refused(line: str) -> None:
    lines = ["hydra/sweeper=study", line, "optimizer.lr=interval(0,1)"]
    (problem,) = find_problems("train", lines, multirun=True)
    assert "minimize: must be maximize, as the objective is a Dice; " in problem


def test_jobs_share_equal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    build: Callable[..., Any] = validation.build

    def spy(node: Any, key: str, *rest: Any) -> Any:
        built.append(key)
        return build(node, key, *rest)

    monkeypatch.setattr(validation, "build", spy)
    find_problems("train", ["model=unet,attn_unet", "seed=0,1,2"], multirun=True)
    assert built.count("window") == 1
    assert built.count("model") == 2
    assert built.count("data") == 3  # its arguments include the seed


def test_large_sweep_is_checked_for_every_value_but_not_every_combination() -> None:
    values = [[f"{key}={i}" for i in range(count)] for key, count in (("a", 7), ("b", 11), ("c", 13))]
    jobs = list(overrides.combinations(values))
    assert len(jobs) == 13
    assert {line for job in jobs for line in job} == {line for lines in values for line in lines}


def test_check_does_not_change_the_state_of_hydra() -> None:
    find_problems("train", ["seed=x", "experiment=nosuch"])
    assert not GlobalHydra.instance().is_initialized()


def test_hydra_runs_a_checked_sweep_and_names_its_folders(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, hydra\n"
        "from kitsseg.config import command_line, validation\n"
        "from kitsseg.train import COMMAND\n"
        "@hydra.main(version_base='1.3', config_path=str(validation.CONFIG_DIR), config_name='train')\n"
        "def job(cfg): pass\n"
        "command_line.check_command_line(COMMAND, sys.argv[1:])\n"
        "job()\n"
    )
    lines = ["model=unet", "seed=0,1", f"paths.output={tmp_path}/out"]
    command = [sys.executable, str(script), "-m", *lines]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    folders = sorted(path.parent.name for path in tmp_path.glob("out/run/*/script.log"))
    assert folders == ["seed-0", "seed-1"]


def test_strong_is_a_sweep_over_seeds_of_fast() -> None:
    invalid = find_problems("train", ["experiment=strong", "model.width=0"])
    assert len(invalid) == 1 and invalid[0].endswith("(in the job seed=0)")
    with initialize_config_dir(str(validation.CONFIG_DIR), version_base="1.3"):
        strong = compose("train", ["experiment=strong"], return_hydra_config=True)
        fast = compose("train", ["experiment=fast", "name=strong"])
    assert strong.hydra.mode == RunMode.MULTIRUN
    assert strong.hydra.sweeper.params.seed == "0,1,2,3,4"
    with open_dict(strong):
        del strong["hydra"]
    assert strong == fast
