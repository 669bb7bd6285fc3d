"""Sweeps with parallel jobs, several ranks, failing and killed jobs, and searches."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from kitsseg.config import overrides
from kitsseg.evaluation import metrics
from kitsseg.jobs.sweep import name_jobs, remaining_trials
from kitsseg.reporting import run_record, runs
from tests import ROOT
from tests.commands.test_train import SMALL, start
from tests.helpers.commands import find_problems
from tests.helpers.forks import command
from tests.helpers.records import find_records

SWEEP = [
    "-m", *SMALL, "hydra/launcher=parallel", "hydra.launcher.n_jobs=2", "model=unet", "finetune=none",
    "trainer.accelerator=cpu", "logger=none", "+callbacks.kill._target_=tests.helpers.killer.Killer",
    "trainer.devices=1,2", "optimizer.lr=0.001,1e30",
]  # fmt: skip


@pytest.mark.slow
def test_failing_jobs_end_while_others_complete_and_are_not_repeated(tmp_path: Path) -> None:
    # In jobs with two ranks, rank 1 raises while rank 0 waits for it.
    done = start(tmp_path, *SWEEP, env={"KILL": "train:1", "KILL_RANK": "1", "KILL_BY": "error"})
    assert done.returncode == 1
    folder = tmp_path / "outputs" / "demo"
    fine, diverged, *crashed = runs.jobs_below(folder)
    assert fine.state == "complete" and fine.folder.name == "optimizer.lr-0.001+trainer.devices-1"
    assert diverged.reason.startswith("val/loss is nan after epoch 1; try a smaller optimizer.lr")
    assert "kitsseg.train: val/loss is nan" in done.stderr
    for each in crashed:
        assert (each.state, each.reason) == ("failed", "rank 1: RuntimeError: on purpose")
        status = json.loads((each.folder / "status.json").read_text())
        assert "killer.py" in status["traceback"] and status["changed"] - status["started"] < 60
    assert done.stderr.count("RuntimeError: on purpose") >= 2
    table = (folder / "table1.md").read_text()
    assert sum("| failed " in line for line in table.splitlines()) == 3
    assert "rank 1: RuntimeError: on purpose" in table
    record = (fine.folder / "result.json").read_bytes()

    done = start(tmp_path, *SWEEP)
    again = runs.jobs_below(folder)
    assert [job.state for job in again] == ["complete", "failed", "complete", "failed"]
    assert (fine.folder / "result.json").read_bytes() == record
    assert f"already complete: {fine.folder}" in done.stdout
    assert done.returncode == 1
    # The metrics differ, because the batches do: two ranks and one rank.
    assert (
        run_record.read(again[2].folder / "result.json").split
        == run_record.read(fine.folder / "result.json").split
    )


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["", "launcher"])
def test_killed_sweep_leaves_no_processes(tmp_path: Path, kept: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KILL": "train:1", "KILL_BY": "wait"}
    own = [part for part in SWEEP if "launcher" not in part or kept]
    line = [sys.executable, "-m", "kitsseg.train", *own]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    sweep = subprocess.Popen(line, cwd=tmp_path, env=env, start_new_session=True, **quiet)
    try:
        wait_for(lambda: processes(tmp_path) and list(tmp_path.glob("outputs/*/*/split.json")))
        os.kill(sweep.pid, signal.SIGKILL)
        wait_for(lambda: not processes(tmp_path), 15)
    finally:
        sweep.kill()
        sweep.wait()
    left = runs.jobs_below(tmp_path / "outputs")
    assert len(left) == (2 if kept else 1)
    assert {job.state for job in left} <= {"unfinished", "interrupted"}


def processes(home: Path) -> list[str]:
    """Return the ids of the processes that compute a job in ``home``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if b"KITSSEG_JOB=" in path.read_bytes() and path.with_name("cwd").readlink() == home:
                found.append(path.parent.name)
        except OSError:
            pass
    return found


def wait_for(condition: object, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.2)


def test_sweep_with_an_added_key_reuses_existing_jobs(tmp_path: Path) -> None:
    line = ["-m", *SMALL, "finetune=none", "logger=tensorboard", "trainer.max_epochs=1"]
    assert command(tmp_path, *line, "model=unet").returncode == 0
    done = command(tmp_path, *line, "model=unet,attn_unet")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "outputs" / "demo"
    assert f"already complete: {folder / 'default'}" in done.stdout
    assert sorted(p.parent.name for p in folder.glob("*/result.json")) == ["default", "model-attn_unet"]


DEBUGGED = """
import pdb, sys
import pytorch_lightning as pl

class Debug(pl.Callback):
    def on_fit_start(self, trainer, module):
        pdb.Pdb(nosigint=True).set_trace()
"""


def test_pdb_reads_the_terminal_in_a_job_of_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "debugged.py").write_text(DEBUGGED)
    terminal, end = pty.openpty()
    line = ["-m", *SMALL, "model=unet", "finetune=none", "logger=none", "trainer.max_epochs=1"]
    own = "+callbacks.debug._target_=debugged.Debug"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-m", "kitsseg.train", *line, own]
    sweep = subprocess.Popen(command, cwd=tmp_path, env=env, stdin=end, stdout=end, stderr=end)
    os.close(end)
    said = ""
    try:
        while sweep.poll() is None and select.select([terminal], [], [], 60)[0]:
            said += os.read(terminal, 4096).decode(errors="replace")
            if said.endswith("(Pdb) "):
                os.write(terminal, b"c\n" if "answer=42" in said else b"p f'answer={6 * 7}'\n")
    except OSError:  # the other end is closed
        pass
    finally:
        assert sweep.wait(60) == 0, said
    assert "answer=42" in said and "# Table 1" in said


def test_search_resumes_interrupted_trials_up_to_n_trials(tmp_path: Path) -> None:
    line = [
        "-m", *SMALL, "hydra/sweeper=study", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler.seed=0",
        "optimizer.lr=tag(log,interval(1e-4,1e-2))", "finetune=none", "logger=none",
        "trainer.accelerator=cpu", "+callbacks.kill._target_=tests.helpers.killer.Killer",
    ]  # fmt: skip
    killed = start(tmp_path, *line, env={"KILL": "train:2", "KILL_BY": "parent"})
    assert killed.returncode == -signal.SIGKILL
    assert trials(tmp_path) == ["RUNNING"]
    done = command(tmp_path, *line)
    assert done.returncode == 0, done.stderr
    assert "trial 0 was interrupted; resuming it" in done.stdout
    assert done.stdout.count("resuming stage train after epoch 1") == 1
    assert trials(tmp_path) == ["FAIL", "COMPLETE", "COMPLETE"]
    records = [run_record.read(path) for path in find_records(tmp_path / "outputs")]
    assert len({record.config["optimizer"]["lr"] for record in records}) == 2
    best = max(metrics.case_mean(record.final["validation"], "tumour") for record in records)
    said = (tmp_path / "outputs/demo/optimization_results.yaml").read_text()
    assert f"best_value: {best}" in said

    done = command(tmp_path, *line)
    assert done.returncode == 0 and "# Table 1" in done.stdout, done.stderr
    assert trials(tmp_path) == ["FAIL", "COMPLETE", "COMPLETE"]


def test_search_space_of_a_study_cannot_change(tmp_path: Path) -> None:
    space = {"optimizer.lr": "interval(1e-4,1e-2)"}
    sweeper = OmegaConf.create(
        {"study_name": "s", "storage": f"sqlite:///{tmp_path}/study.db", "n_trials": 3}
    )
    assert remaining_trials(sweeper, space) == remaining_trials(sweeper, space) == (3, 0)
    for other, text in (
        (
            {"optimizer.lr": "choice(1e-4,1e-2)"},
            "optimizer.lr=interval(1e-4,1e-2), not choice(1e-4,1e-2)",
        ),
        ({**space, "seed": "choice(0,1)"}, "seed=unset, not choice(0,1)"),
    ):
        with pytest.raises(ValueError, match=re.escape(f"{text}: choose another name=")):
            remaining_trials(sweeper, other)


def test_search_without_complete_trials_shows_the_failures(tmp_path: Path) -> None:
    done = command(
        tmp_path, "-m", *SMALL, "hydra/sweeper=study", "hydra.sweeper.n_trials=2", "finetune=none",
        "logger=none", "optimizer.lr=interval(1e30,1e31)", "trainer.precision=32-true",
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert trials(tmp_path) == ["FAIL", "FAIL"]
    assert done.stderr.count("kitsseg.train: val/loss is nan") == 2


def trials(home: Path) -> list[str]:
    """Return the states of the trials of the study."""
    study = optuna.load_study("demo", f"sqlite:///{home}/outputs/demo/study.db")
    return [trial.state.name for trial in study.trials]


# ---- names


@pytest.mark.parametrize(
    ("task", "params", "shown", "hidden"),
    [
        (["model=a,b", "data.size=64", "seed=0"], {}, {"model"}, {"data.size", "seed", "name"}),
        (["experiment=a,b"], {}, {"experiment"}, {"name", "data.root"}),
        (["experiment=a,b", "name=mine"], {}, {"experiment"}, {"name", "data.root"}),
        (["experiment=a"], {"seed": "0,1", "model": "b"}, {"seed"}, {"experiment", "model"}),
        (["+hparams=a"], {"experiment": "a,b", "seed": 1}, {"experiment"}, {"hparams", "seed"}),
        (["experiment=c"], {"experiment": "a,b"}, set(), {"experiment"}),
        (["name=a,b"], {}, {"name"}, {"experiment"}),
        (["seed=range(0,3)"], None, {"seed"}, {"name"}),
        (["optimizer.lr=interval(0,1)", "seed=1"], {}, {"optimizer.lr"}, {"seed"}),
    ],
)
def test_jobs_are_named_after_swept_values(
    task: list[str], params: dict[str, str] | None, shown: set[str], hidden: set[str]
) -> None:
    always = ["name", "data.root", "experiment"]
    config = OmegaConf.create(
        {
            "name": "run",
            "hydra": {
                "overrides": {"task": task, "hydra": []},
                "sweeper": {"params": params},
                "sweep": {"dir": "it's ${name}"},
                "job": {"config": {"override_dirname": {"exclude_keys": always}}},
            },
        }
    )
    name_jobs(config)
    several = "experiment" in shown and "name=mine" not in task
    assert config.name == ("experiments" if several else "run")
    assert ("name=experiments" in config.hydra.overrides.task) == several
    folder, exclude, _ = config.hydra.overrides.hydra
    # All jobs are written into one folder, also if ``name`` is swept.
    assert OverridesParser.create().parse_override(folder).value() == f"it's {config.name}"
    key, _, value = exclude.partition("=")
    assert key == "hydra.job.config.override_dirname.exclude_keys"
    excluded = set(value.strip("[]").split(","))
    assert hidden <= excluded and not shown & excluded


def test_sweep_over_user_experiments_writes_a_table(tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    for name, width in (("narrow", 2), ("wide", 4)):
        text = (
            f"# @package _global_\ndefaults: [demo, _self_]\nname: {name}\nmodel: {{width: {width}}}\n"
        )
        (tmp_path / "mine" / "experiment" / f"{name}.yaml").write_text(text)
    small = [part for part in SMALL if not part.startswith(("experiment=", "model.width=", "fine"))]
    line = ["-m", "--config-dir", "mine", "experiment=narrow,wide", "data=phantom", *small, "model=unet"]
    done = command(tmp_path, *line, "finetune=none", "logger=none", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "outputs" / "experiments"
    assert [job.folder.name for job in runs.jobs_below(folder)] == [
        "experiment-narrow",
        "experiment-wide",
    ]
    table = (folder / "table1.md").read_text()
    assert "unet, experiment=narrow" in table and "unet, experiment=wide" in table


@pytest.mark.parametrize("choice", ["launcher=parallel", "launcher=slurm", "sweeper=study"])
def test_launchers_and_sweepers_compose(choice: str) -> None:
    assert find_problems("train", [f"hydra/{choice}", "seed=0,1"], multirun=True) == []


@pytest.mark.parametrize("line", [["-m", "seed=0,1"], ["experiment=strong"]])
def test_torchrun_cannot_start_a_sweep(line: list[str], tmp_path: Path) -> None:
    done = command(tmp_path, *line, env={"RANK": "0", "WORLD_SIZE": "2"})
    assert done.returncode == 2
    assert done.stderr == (
        "kitsseg.train: a sweep starts the ranks of its jobs itself; start it without torchrun or srun\n"
    )


def test_missing_extra_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overrides, "is_installed", lambda module: False)
    for choice, extra in (
        ("hydra/launcher=parallel", "parallel"),
        ("hydra/launcher=slurm", "slurm"),
        ("hydra/sweeper=study", "optuna"),
    ):
        problems = find_problems("train", [choice], multirun=True)
        assert problems == [f"{choice}: not installed; pip install 'kitsseg[{extra}]'"]
