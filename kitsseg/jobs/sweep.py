"""What happens when a job or a sweep begins and ends: status, tables and page, the exit code."""

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, read_write

from kitsseg.evaluation import metrics
from kitsseg.jobs import failures, job_folder, study
from kitsseg.reporting import run_record, runs
from kitsseg.system import distributed
from kitsseg.system.files import remove_unfinished, write_json

log = logging.getLogger("kitsseg")

# What a folder's name needn't say: where things lie, how fast it goes, and `name`, which is above it.
UNNAMED = (
    "experiment", "name", "paths.data", "paths.output", "data", "data.root", "data.workers",
    "data.prepare_workers", "data.prepared", "logger", "trainer", "trainer.accelerator",
)  # fmt: skip
SEVERAL = "name=experiments"
REFUSED = ".refused"


def name_jobs(arguments: list[str]) -> list[str]:
    """The command line, with which of its keys stay out of the names of the jobs' folders.

    A sweep's jobs are named by what is swept, a single run by all that it sets. So the same command
    finds its jobs again, and a sweep with more values goes on beside those that are there. A sweep over
    experiments, which have names of their own, gets one for all.
    """
    try:
        given_here = get_args_parser().parse_args(arguments).overrides
        parsed = OverridesParser.create().parse_overrides(given_here)
    except HydraException:
        return arguments  # Hydra itself says what is wrong
    swept = {each.key_or_group for each in parsed if each.is_sweep_override()}
    given = {each.key_or_group for each in parsed if not each.is_hydra_override()}
    hidden = sorted({*UNNAMED, *(given if swept else ())} - swept)
    name = [SEVERAL] if "experiment" in swept and "name" not in given else []
    return [*arguments, *name, f"hydra.job.config.override_dirname.exclude_keys=[{','.join(hidden)}]"]


def guard(work: Callable[[], None], settings: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Run a job in its folder, keep its ``status.json``, and let a sweep go on when it fails.

    What is complete is left alone, and what was cut off or failed goes on from its last checkpoint. A
    failure is shown at once: a line for each thing that a user can mend, a traceback else.

    Args:
        work: does all of it, or what is left.
        settings: the job's configuration, by which its folder knows it again.
        about: plain values to keep with the status.
    """
    context = HydraConfig.get()
    folder, sweeps = Path(context.runtime.output_dir), context.mode == RunMode.MULTIRUN
    refused = folder / REFUSED
    if distributed.rank() > 0:
        if not _follow(work, folder, settings) and not sweeps:
            sys.exit(1)  # SLURM's task of a sweep ends well: submitit takes another end for its own
        return
    try:
        with job_folder.held(folder):
            refused.unlink(missing_ok=True)
            remove_unfinished(folder)
            if job_folder.is_complete(folder) and not job_folder.changed(folder, settings):
                log.info(f"complete already: {folder}")
                return
            job_folder.claim(folder, settings)
            failure = _run(work, folder, about)
    except (ValueError, OSError) as error:  # nothing was begun
        failure = failures.describe(error)
        with suppress(OSError):
            refused.write_text(failure.error)
    if failure is not None:
        lines = [f"kitsseg.train: {line}" for line in failure.told]
        print("\n".join(lines) if failure.known else failure.traceback, file=sys.stderr)
        if not sweeps:
            sys.exit(1)


def _run(work: Callable[[], None], folder: Path, about: Mapping[str, Any]) -> failures.Failure | None:
    """Do the work with its status kept; the failure, if it failed."""
    before = job_folder.status(folder)
    values: dict[str, Any] = {
        **about,
        "status": "running",
        "started": time.time(),
        "attempt": int(before.get("attempt", 0)) + 1,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }

    def keep(state: str, **more: Any) -> None:
        write_json(
            folder / run_record.STATUS, {**values, **more, "status": state, "changed": time.time()}
        )

    for path in folder.glob(failures.about(folder, 0).name.replace("0", "*")):
        path.unlink()
    try:
        keep("running")
        work()
        keep("complete")
    except Exception as error:
        failure = failures.describe(error)
        if distributed.count() > 1:  # torchrun's or SLURM's: another may have failed first
            failure = failures.first_failure(folder, failure)
        try:
            keep("failed", **failure.plain())
        except OSError as full:  # the disk that the job filled: its status then says that it isn't done
            log.warning(f"{folder / run_record.STATUS} can't be written: {full.strerror}")
        return failure
    except BaseException:
        keep("interrupted")
        raise
    return None


def _follow(work: Callable[[], None], folder: Path, settings: Mapping[str, Any]) -> bool:
    """The part of a process that isn't a job's first, which keeps the status; whether all went well."""
    if job_folder.taken(folder, settings) or job_folder.is_complete(folder):
        return True
    try:
        work()
    except Exception as error:
        failure = failures.describe(error)
        failures.leave_failure(folder, failure)
        print(f"kitsseg.train: rank {distributed.rank()}: {failure.error}", file=sys.stderr)
        return False
    return True


def objective(folder: Path) -> float | None:
    """What a search makes large: the validation cases' mean Dice of the tumour; None if it failed."""
    if not job_folder.is_complete(folder):
        return None
    return metrics.case_mean(run_record.read(folder / run_record.RESULT).final["validation"], "tumour")


@contextmanager
def ending_searches() -> Iterator[None]:
    """Let a search of which no trial came to a value end as any sweep does.

    Optuna's sweeper asks for the best trial at the end, which is then an error.
    """
    try:
        yield
    except ValueError:
        begun = WriteTable.searching
        if begun is None or not study.is_fruitless(begun.storage, begun.name):
            raise
        finish(begun.folder, begun.start)


class Search(NamedTuple):
    """A search that runs in this process: its study, its folder and when it began."""

    storage: str
    name: str
    folder: Path
    start: float


class WriteTable(Callback):
    """Tables and page from the records in the folder of the run or sweep that has just ended."""

    searching: Search | None = None

    def __init__(self) -> None:
        self.start = time.time()
        self.held = ExitStack()

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        if distributed.rank() == 0:
            finish(Path(config.hydra.run.dir), self.start)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder, sweeper = Path(config.hydra.sweep.dir), config.hydra.sweeper
        folder.mkdir(parents=True, exist_ok=True)  # a search keeps its study there
        if sweeper.get("storage") is None:
            return
        try:
            self.held.enter_context(job_folder.held(folder))
        except ValueError as error:
            sys.exit(f"kitsseg.train: {error}")
        fill_up(sweeper)
        WriteTable.searching = Search(sweeper.storage, sweeper.study_name, folder, self.start)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # what the sweeper raises comes out, see `ending_searches`

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        finish(Path(config.hydra.sweep.dir), self.start)


def fill_up(sweeper: DictConfig) -> None:
    """Make a search, whose study may be there already, one of the trials that the study lacks."""
    left, there = study.trials_left(sweeper.storage, sweeper.study_name, sweeper.n_trials)
    with read_write(sweeper):
        sweeper.n_trials = left
        if sweeper.sampler.get("seed") is not None:
            sweeper.sampler.seed += there  # else it would draw the same values again


def finish(folder: Path, since: float) -> None:
    """Write tables and page, print Table 1; exit with 1 if a job below ``folder`` isn't complete.

    Args:
        since: when the command began; what failed before, in another, is only marked in the table.
    """
    from kitsseg.reporting.html import page
    from kitsseg.tracking.sweep_end import log_sweep

    jobs = runs.jobs_below(folder)
    records = any(each.record is not None for each in jobs)
    if records or len(jobs) > 1:
        try:
            paths = page.publish(jobs, folder)
        except OSError as error:
            print(f"kitsseg.train: {failures.describe(error).error}", file=sys.stderr)
            sys.exit(1)
        table = f"\n{paths[0].read_text(encoding='utf-8')}" if records else ""
        print(table + "\n" + "\n".join(str(path) for path in paths))
        log_sweep(jobs, folder, paths)
    undone = [j for j in jobs if j.state != "complete" and j.changed is not None and j.changed >= since]
    for each in undone:
        print(
            f"kitsseg.train: {each.state}: {each.folder} (its {run_record.STATUS} says why)",
            file=sys.stderr,
        )
    refused = [path for path in folder.rglob(REFUSED) if path.stat().st_mtime >= since - 1]
    for path in refused:
        print(f"kitsseg.train: not run: {path.read_text()}", file=sys.stderr)
    if undone or refused:
        sys.exit(1)
