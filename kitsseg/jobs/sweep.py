"""Run a job and store its status, resume a search, and write tables and report at the end."""

import hashlib
import logging
import math
import os
import re
import socket
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from kitsseg.evaluation import metrics
from kitsseg.jobs import failures, job_folder, launch
from kitsseg.reporting import run_record, runs
from kitsseg.reporting.html import page
from kitsseg.system import distributed, gpus
from kitsseg.system.files import remove_unfinished, write_json
from kitsseg.tracking.sweep_end import log_sweep

log = logging.getLogger("kitsseg")

ATTEMPT = ".attempt-"  # file in a job's folder: the reason why command `command_id` did not run the job
EXCLUDE = "hydra.job.config.override_dirname.exclude_keys"
MAX_NAME = 120


def guard(
    work: Callable[[], None], folder: Path, settings: Mapping[str, Any], about: Mapping[str, Any]
) -> bool:
    """Run a job in its folder, write its ``status.json``, and return whether it succeeded.

    A complete job is skipped; an interrupted or failed one is resumed. A failure is printed immediately:
    in one line if its cause is known, otherwise with a traceback.

    Args:
        work: computes the phases of the job that have not finished.
        folder: folder of the job.
        settings: configuration of the job, compared with the one in the folder.
        about: plain values to store with the status.
    """
    if distributed.rank() > 0:
        return _run_on_other_rank(work, folder, settings)
    attempt = folder / f"{ATTEMPT}{launch.command_id()}"
    try:
        with job_folder.lock_job(folder):
            for other in {*folder.glob(f"{ATTEMPT}*")} - {attempt}:  # left by a killed command
                other.unlink(missing_ok=True)
            attempt.touch()
            remove_unfinished(folder)
            if _is_done(folder, settings) and not job_folder.changes(folder, settings):
                log.info(f"already complete: {folder}")
                if changed := job_folder.changed_inputs(folder):
                    log.warning(f"{changed}; choose another name= to train again")
                return True
            job_folder.claim(folder, settings)
            failure = _run(work, folder, about)
    except (ValueError, OSError) as error:  # before the job started
        failure = failures.describe(error)
        # If another command runs the job, it may be complete when the sweep ends.
        is_running = isinstance(error, job_folder.JobRunningError)
        with suppress(OSError):
            attempt.write_text("" if is_running else failure.error)
    if failure is not None:
        lines = [f"kitsseg.train: {line}" for line in failure.message]
        print("\n".join(lines) if failure.known else failure.traceback, file=sys.stderr)
    return failure is None


def _is_done(folder: Path, settings: Mapping[str, Any]) -> bool:
    return job_folder.is_complete(folder) and not job_folder.is_trial(settings)


def _run(work: Callable[[], None], folder: Path, about: Mapping[str, Any]) -> failures.Failure | None:
    """Call ``work``, update the status, and return the failure, if any."""
    values: dict[str, Any] = {
        **about,
        "started": time.time(),
        "attempt": int(job_folder.read_status(folder).get("attempt", 0)) + 1,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }

    def write_status(state: str, **more: Any) -> None:
        status = {"status": state, **values, **more, "changed": time.time()}
        write_json(folder / run_record.STATUS, status)

    failures.clear_failures(folder)
    try:
        write_status("running")
        work()
        write_status("complete")
    except Exception as error:
        failure = failures.describe(error)
        if distributed.world_size() > 1:  # another rank may have failed first
            failure = failures.first_failure(folder, failure)
        try:
            write_status("failed", **asdict(failure))
        except OSError as full:  # the disk is full; the stored status remains "running"
            log.warning(f"{folder / run_record.STATUS} cannot be written: {full.strerror}")
        return failure
    except BaseException:
        write_status("interrupted")
        raise
    return None


def _run_on_other_rank(work: Callable[[], None], folder: Path, settings: Mapping[str, Any]) -> bool:
    """Run the job on a rank other than the first; return whether it succeeded."""
    if job_folder.conflicts(folder, settings) or _is_done(folder, settings):
        return True
    try:
        work()
    except Exception as error:
        failure = failures.describe(error)
        failures.store_failure(folder, failure)
        print(f"kitsseg.train: rank {distributed.rank()}: {failure.error}", file=sys.stderr)
        return False
    return True


def objective(folder: Path) -> float | None:
    """Return the objective of a search, the mean validation Dice of the target.

    None, a failed trial, if the job has failed or no validation case has a target.
    """
    if not job_folder.is_complete(folder):
        return None
    record = run_record.read(folder / run_record.RESULT)
    dice = metrics.case_mean(record.final["validation"], record.label_set.target)
    return None if math.isnan(dice) else dice  # NaN would end the search


class FinishSweep(Callback):
    """Hydra callback that names the folders of jobs and writes tables and report at the end."""

    def __init__(self) -> None:
        self.locks = ExitStack()

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        if distributed.rank() == 0:
            finish_sweep(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        name_jobs(config)
        folder, sweeper = Path(config.hydra.sweep.dir), config.hydra.sweeper
        if sweeper.get("storage") is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)  # will contain the study
            self.locks.enter_context(job_folder.lock_job(folder))
            space = {**(sweeper.get("params") or {}), **swept_overrides(config)}
            left, existing = remaining_trials(sweeper, space)
        except (ValueError, OSError) as error:
            sys.exit(f"kitsseg.train: {failures.describe(error).error}")
        with read_write(sweeper):
            sweeper.n_trials = left
            if sweeper.sampler.get("seed") is not None:
                sweeper.sampler.seed += existing  # the same seed would repeat the same values

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        finish_sweep(Path(config.hydra.sweep.dir))


def remaining_trials(sweeper: DictConfig, space: Mapping[str, str]) -> tuple[int, int]:
    """Return how many trials remain until ``n_trials`` are complete, and how many trials exist.

    No other process may use the study, so a running trial is one that was interrupted. It is marked as
    failed and queued again with the same values, so that its job is resumed. A missing study is created.

    Args:
        sweeper: the section ``hydra.sweeper``.
        space: the search space, such as ``{"optimizer.lr": "interval(0.0001,0.01)"}``.

    Raises:
        ValueError: the study has another search space.
    """
    import optuna
    from optuna.storages import RetryFailedTrialCallback
    from optuna.trial import TrialState

    name, storage, wanted = sweeper.study_name, sweeper.storage, sweeper.n_trials
    if name not in {summary.study_name for summary in optuna.get_all_study_summaries(storage)}:
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        study.set_user_attr("space", dict(space))
        return wanted, 0
    study = optuna.load_study(study_name=name, storage=storage)
    if found := job_folder.differences(study.user_attrs.get("space", space), space):
        raise ValueError(f"{storage} holds a search with {'; '.join(found)}: choose another name=")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
            RetryFailedTrialCallback()(study, trial)
            log.info(f"trial {trial.number} was interrupted; resuming it")
    complete = len(study.get_trials(states=(TrialState.COMPLETE,)))
    return max(0, wanted - complete), len(study.trials)


def _parse(task: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(task))


def swept_overrides(config: DictConfig) -> dict[str, str]:
    """Return the swept values of each key, as written in its override."""
    swept = [
        override for override in _parse(config.hydra.overrides.task) if override.is_sweep_override()
    ]
    return {each.key_or_group: str(each.input_line).partition("=")[2] for each in swept}


def folder_name(overrides: str) -> str:
    """Return a folder name for a job's overrides that needs no quotes in a shell or in Hydra."""
    if not overrides:
        return "default"
    name = re.sub(r"[^A-Za-z0-9.+_-]+", "-", overrides)
    if name == overrides and len(name) <= MAX_NAME:
        return name
    # The hash distinguishes overrides that give the same shortened name.
    return f"{name[: MAX_NAME - 9]}-{hashlib.sha256(overrides.encode()).hexdigest()[:8]}"


OmegaConf.register_new_resolver("job_folder", folder_name, replace=True)
OmegaConf.register_new_resolver("gpus", gpus.count, replace=True)


def name_jobs(config: DictConfig) -> None:
    """Give a sweep one folder, and name the folders of its jobs after the swept values only.

    Repeating the command then finds the existing jobs, also if values were added. A sweep over
    experiments, each of which sets a name, gets the name ``experiments``.
    """
    task = config.hydra.overrides.task
    params = config.hydra.sweeper.get("params") or {}
    lines = [*(f"{key}={value}" for key, value in params.items()), *task]
    last = {override.key_or_group: override for override in _parse(lines)}  # the last one of a key wins
    swept = {key for key, override in last.items() if override.is_sweep_override()}
    fixed = last.keys() - swept
    with read_write(config):
        if "experiment" in swept and "name" not in fixed:
            config.name = "experiments"
            task.append("name=experiments")
            fixed.add("name")
        hidden = {*config.hydra.job.config.override_dirname.exclude_keys, *fixed} - swept
        folder = config.hydra.sweep.dir.replace("'", "\\'")
        # Hydra composes each job from these overrides.
        config.hydra.overrides.hydra += [
            f"hydra.sweep.dir='{folder}'",  # a job can have another name or paths.output
            f"{EXCLUDE}=[{','.join(sorted(hidden))}]",
            f"+hydra.job.env_set.{launch.OWNER}={launch.process_id()}",
        ]


def finish_sweep(folder: Path) -> None:
    """Write tables and report, print Table 1, and exit with 1 if a job of this command is incomplete."""
    jobs = runs.jobs_below(folder)
    records = any(job.record is not None for job in jobs)
    if records or len(jobs) > 1:
        try:
            paths = page.publish(jobs, folder)
        except (OSError, ValueError) as error:
            sys.exit(f"kitsseg.train: {failures.describe(error).error}")
        table = f"\n{paths[0].read_text(encoding='utf-8')}" if records else ""
        print(table + "\n" + "\n".join(str(path) for path in paths))
        log_sweep(jobs, folder, paths)
    attempts = {path.parent: path for path in sorted(folder.rglob(f"{ATTEMPT}{launch.command_id()}"))}
    lines = [f"not run: {reason}" for path in attempts.values() if (reason := path.read_text())]
    for job in jobs:
        if job.folder in attempts and job.state != "complete":
            where = f"the reason is in its {run_record.STATUS}" if job.state == "failed" else job.reason
            lines.append(f"{job.state}: {job.folder} ({where})")
    for path in attempts.values():
        path.unlink()
    if lines:
        sys.exit("\n".join(f"kitsseg.train: {line}" for line in lines))
