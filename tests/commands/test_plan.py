"""The command `kitsseg.plan`."""

import csv
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kitsseg.reporting import pilot
from tests.helpers import forks
from tests.helpers.commands import find_problems
from tests.helpers.records import validated

SMALL = ["gain=0.1", "cases=[12,48]", "seeds=[2,3]", "studies=20"]


def plan(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forks.command(folder, *arguments, name="kitsseg.plan")


def values(seed: int, model: int) -> list[float]:
    cases = np.random.default_rng(0).random(12) / 2
    noise = np.random.default_rng([seed, model]).normal(0.1 * model, 0.05, 12)
    return list(np.clip(cases + noise, 0, 1))


def write_runs(folder: Path, seeds: int = 2) -> None:
    for number, name in enumerate(("unet", "attn_unet")):
        for seed in range(seeds):
            run = validated(name, values(seed, number), seed=seed)
            (folder / f"{number}-{seed}").mkdir(parents=True)
            run.write(folder / f"{number}-{seed}")


def test_a_sweep_is_a_pilot(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs")
    done = plan(tmp_path, "runs=runs", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "Pilot: attn_unet minus unet, tumour, 12 cases and 2 seeds." in done.stdout
    assert "3 seeds: " in done.stdout and "| cases | 2 seeds | 3 seeds |" in done.stdout
    rows = list(csv.reader((tmp_path / "runs/plan.csv").open()))
    assert [row[0] for row in rows] == ["cases", "12", "48"] and 0 <= float(rows[1][1]) <= 1
    page = (tmp_path / "runs/plan.html").read_text()
    assert '<div class="plots"><figure><svg' in page  # as wide as the plots of the report


def test_cases_with_an_undefined_value_do_not_count(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs")
    run = validated("unet", [None, *values(0, 0)[1:]])
    run.write(tmp_path / "runs/0-0")
    assert "tumour, 11 cases and 2 seeds." in plan(tmp_path, "runs=runs", *SMALL).stdout


def test_a_table_gives_the_same_plan(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs")
    with (tmp_path / "pilot.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "seed", "case", "value"])
        for number, name in enumerate(("unet", "attn_unet")):
            for seed in range(2):
                lines = enumerate(values(seed, number))
                writer.writerows([name, seed, f"case_{i:05d}", value] for i, value in lines)
    for runs in ("runs", "pilot.csv"):
        done = plan(tmp_path, f"runs={runs}", "region=tumour", *SMALL, f"output={runs}-plan")
        assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / f"{n}-plan/plan.csv").read_text() for n in ("runs", "pilot.csv"))
    assert first == second


def test_the_folds_of_a_seed_count_together(tmp_path: Path) -> None:
    for model in ("unet", "attn_unet"):
        for seed in range(2):
            for fold in range(3):
                dice = values(seed, len(model))[4 * fold : 4 * fold + 4]
                options = ("split=kfold", f"split.fold={fold}")
                run = validated(model, dice, 4 * fold, seed, options)
                folder = tmp_path / f"{model}-{seed}-{fold}"
                folder.mkdir()
                replace(run, seconds={"train": 3600.0}).write(folder)
    found, _ = pilot.read(tmp_path, None)
    assert found.hours == pytest.approx(3) and found.differences.shape == (2, 12)


@pytest.mark.parametrize(
    ("seeds", "arguments", "text"),
    [
        (
            1,
            [],
            "unet and attn_unet have fewer than two seeds in common; run both with at least two, such",
        ),
        (2, ["region=liver"], "region=liver: must be one of kidney, tumour, kidney_label"),
    ],
)
def test_unusable_pilots_are_one_line(
    tmp_path: Path, seeds: int, arguments: list[str], text: str
) -> None:
    write_runs(tmp_path / "runs", seeds)
    done = plan(tmp_path, "runs=runs", *SMALL, *arguments)
    assert done.returncode == 1 and text in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "runs/plan.csv").exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model,case,value\n", "pilot.csv: has no column seed; expected model, seed, case, value"),
        ("model,seed,case,value\na,0,x,?\n", "pilot.csv, line 2: seed and value must be numbers"),
        (
            "model,seed,case,value\na,0,x,inf\n",
            "pilot.csv, line 2: value must be finite, or empty if undefined",
        ),
        ("model,seed,case,value\na\n", "pilot.csv, line 2: seed and value must be numbers"),
        ("model,seed,case,value\na,0,x,1\na,0,x,1\n", "pilot.csv, line 3: case x occurs twice"),
        ("model,seed,case,value\na,0,x,1\n", "a pilot has two models, this one has 1"),
    ],
)
def test_unusable_tables_are_one_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "pilot.csv").write_text(text)
    done = plan(tmp_path, "runs=pilot.csv", *SMALL)
    assert done.returncode == 1 and problem in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("gain=0", "gain=0.0: must be between -1 and 1 and not 0, such as 0.03"),
        ("power=1", "power=1.0: must be between 0 and 1, such as 0.8"),
        ("seeds=[1]", "seeds=[1]: must be numbers of at least 2"),
        ("cases=[]", "cases=[]: must be numbers of at least 4"),
        ("studies=0", "studies=0: must be at least 1"),
        ("runs=no/where", "runs=no/where: no such folder or file"),
    ],
)
def test_values_out_of_range(argument: str, problem: str) -> None:
    line = [each for each in ("runs=.", "gain=0.1") if each.split("=")[0] != argument.split("=")[0]]
    assert find_problems("plan", [*line, argument]) == [problem]
