"""Train a network, fine-tune it on tumour slices, evaluate both stages and record the results.

``python -m kitsseg.train --help`` lists the configuration. ``-m`` runs a sweep and writes Table 1.
"""

import json
import logging
import os
import signal
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf, read_write

from kitsseg.config import resolvers
from kitsseg.config.command_line import check_command_line, ending_with_reader, print_error
from kitsseg.config.components import Section, instantiate
from kitsseg.config.validation import CONFIG_DIR, Command, PathsConfig, is_on, plain
from kitsseg.jobs import job_folder, launch, sweep
from kitsseg.system import distributed
from kitsseg.system.files import check_writable, write_json

# torch and Lightning are imported only when a job runs, so that --help is fast.
if TYPE_CHECKING:
    from kitsseg.training.experiment import Experiment

log = logging.getLogger("kitsseg")


resolvers.register()
STOPPED = 128 + signal.SIGTERM  # exit code


@dataclass
class CheckpointConfig:
    """The metric by which the best epoch of a stage is chosen."""

    monitor: str = MISSING
    mode: str = MISSING


@dataclass
class TrainConfig:
    """Schema of ``conf/train.yaml``; the signature of a ``_target_`` is the schema of a component."""

    name: str = MISSING
    seed: int = MISSING
    channels_last: bool = MISSING
    compile: bool | None = MISSING
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    mirror_axes: list[int] = MISSING
    shallow: list[str] | None = None
    init_from: str | None = None
    init_strict: bool = True
    resume_from: str | None = None
    paths: PathsConfig = field(default_factory=PathsConfig)
    labels: dict[str, Any] = MISSING
    data: dict[str, Any] = MISSING
    split: dict[str, Any] = MISSING
    window: dict[str, Any] = MISSING
    augmentation: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    loss: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    scheduler: dict[str, Any] = MISSING
    finetune: dict[str, Any] | None = None
    trainer: dict[str, Any] = MISSING
    logger: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)


def check(values: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """Return the problems of values outside components, and of combinations of components."""
    problems = []
    place = PurePath(name := values["name"])
    if not place.parts or place.is_absolute() or ".." in place.parts:
        problems.append(f"name={name}: must name a folder within paths.output")
    if not 0 <= (seed := values["seed"]) < 2**32:
        problems.append(f"seed={seed}: must be at least 0 and below 2**32")
    if (mode := values["checkpoint"]["mode"]) not in ("min", "max"):
        problems.append(f"checkpoint.mode={mode}: must be one of min, max")
    from kitsseg.training.checks import check_mirror_axes, check_monitors, check_network, check_trainer

    if "labels" in built:
        problems += check_monitors(values["checkpoint"], values["callbacks"], built["labels"])
    problems += check_mirror_axes(values["mirror_axes"], built.get("data"))
    problems += check_trainer(values["trainer"], values["callbacks"], bool(values["logger"]))
    try:
        launch.requested_ranks(values["trainer"])
    except ValueError as error:
        problems.append(str(error))
    problems += check_network(values, built)
    return problems if problems else check_output_folder(Path(values["paths"]["output"]))


def check_output_folder(folder: Path) -> list[str]:
    """Create ``folder``; return a problem if files cannot be written into it."""
    try:
        folder.expanduser().mkdir(parents=True, exist_ok=True)
        check_writable(folder.expanduser() / "trial")
    except OSError as error:
        return [f"paths.output={folder}: {error.strerror}; set a folder that you can write"]
    return []


_LISTED = Section(optional=True, many=True, build=False)
COMMAND = Command(
    "train",
    TrainConfig,
    {
        "labels": Section(),
        "window": Section(),
        "split": Section(),
        "augmentation": Section(),
        "model": Section(),
        "loss": Section(),
        "finetune": Section(optional=True),
        "data": Section(given=("split", "augmentation", "seed", "labels")),
        "optimizer": Section(given=("params",), partial=True),
        "scheduler": Section(given=("optimizer",), offered=("total_steps",), partial=True),
        "trainer": Section(
            given=("logger", "callbacks", "plugins", "default_root_dir"),
            auto=("precision",),
            build=False,
        ),
        "logger": _LISTED,
        "callbacks": _LISTED,
    },
    check,
)


def run(cfg: DictConfig, folder: Path, model: str, overrides: list[str]) -> None:
    """Train and evaluate one job in this process, with its loggers."""
    from pytorch_lightning.loggers.logger import DummyLogger

    from kitsseg.jobs.job_folder import Phases
    from kitsseg.system import package_messages
    from kitsseg.tracking import safe_logger

    package_messages.silence()
    first = distributed.rank() == 0
    nodes = (cfg.logger or {}).values() if first else ()
    with safe_logger.open_loggers(partial(instantiate, node) for node in nodes) as loggers:
        if not first:  # callbacks such as LearningRateMonitor require loggers on every rank
            loggers = [DummyLogger() for _ in cfg.logger or {}]  # type: ignore[misc]
        for logger in loggers:
            logger.log_hyperparams(plain(cfg))
        experiment = make_experiment(cfg, folder, model, overrides, loggers)
        record = experiment.run(Phases(folder, write=first))
        if record is not None:
            safe_logger.log_run(loggers, record, folder)
    distributed.shut_down()


def make_experiment(
    cfg: DictConfig, folder: Path, model: str, overrides: list[str], loggers: list[Any]
) -> "Experiment":
    """Seed the generators and build each object of the configuration once."""
    import pytorch_lightning as pl

    from kitsseg.system import hardware
    from kitsseg.training.experiment import Experiment

    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    split, augmentation = instantiate(cfg.split), instantiate(cfg.augmentation)
    labels = instantiate(cfg.labels)
    compiled = hardware.choose_compile(cfg.trainer.accelerator, cfg.compile)
    if cfg.finetune and not is_on(cfg.finetune):
        names = ", ".join(f"finetune.{name}" for name in cfg.finetune)
        log.warning(f"finetune=none: {names} has no effect")
    plan = folder / job_folder.PLAN
    if plan.is_file():  # written by an earlier attempt, whose device may have had more memory
        cfg.data.update(json.loads(plan.read_text()))
    data = instantiate(cfg.data, split=split, augmentation=augmentation, seed=cfg.seed, labels=labels)
    settings = plain(cfg)
    settings["model"] = data.adapt(settings["model"])
    if data.chosen and distributed.rank() == 0:
        write_json(plan, data.chosen)
    settings["data"] |= data.chosen
    return Experiment(
        settings=settings,
        folder=folder,
        model=model,
        overrides=overrides,
        data=data,
        net=hardware.optimize(instantiate(settings["model"]), cfg.channels_last, compiled),
        compiled=compiled,
        window=instantiate(cfg.window),
        loss=instantiate(cfg.loss),
        optimizer=instantiate(cfg.optimizer),
        scheduler=instantiate(cfg.scheduler),
        finetune=instantiate(cfg.finetune) if is_on(cfg.finetune) else None,
        trainer=partial(instantiate, cfg.trainer),
        callbacks=lambda: [instantiate(callback) for callback in cfg.callbacks.values()],
        loggers=loggers,
        init_from=None if cfg.init_from is None else Path(cfg.init_from).expanduser(),
        resume_from=None if cfg.resume_from is None else Path(cfg.resume_from).expanduser(),
    )


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="train")
def _job(cfg: DictConfig) -> float | None:
    """Run the job that Hydra composed; return the objective of a search."""
    context: Any = HydraConfig.get()
    multirun = context.mode == RunMode.MULTIRUN
    if multirun:
        with read_write(context.runtime):  # loggers write into this folder
            context.runtime.output_dir = str(
                job_folder.find(Path(context.runtime.output_dir), plain(cfg))
            )
    folder = Path(context.runtime.output_dir)
    job = {
        "config": plain(cfg),
        "folder": str(folder),
        "model": context.runtime.choices["model"],
        "overrides": [o for o in context.overrides.task if not o.startswith("seed=")],
        "logging": plain(context.job_logging),
    }
    about = {"name": cfg.name, "seed": cfg.seed, "number": context.job.num if multirun else 0}
    about |= {key: job[key] for key in ("model", "overrides")}
    ranks = launch.requested_ranks(cfg.trainer)

    def work() -> None:
        launch.check_ranks(ranks * cfg.trainer.get("num_nodes", 1))
        # A job of a sweep runs in its own processes, so that it cannot end the sweep or other jobs.
        if distributed.world_size() == 1 and (multirun or ranks > 1):
            launch.start_job(folder, job, ranks)
        else:
            compute_job(job)

    succeeded = sweep.guard(work, folder, job["config"], about)
    if not succeeded and not multirun:  # in a sweep, submitit would report an exit as its own failure
        sys.exit(1)
    return sweep.objective(folder)


def compute_job(job: dict[str, Any]) -> None:
    """Compute a job in this process."""
    if distributed.rank() > 0:
        log.setLevel(logging.WARNING)
    run(OmegaConf.create(job["config"]), Path(job["folder"]), job["model"], job["overrides"])


def compute_as_rank(job: dict[str, Any]) -> None:
    """Compute a job in a process that `kitsseg.jobs.launch` started, without Hydra."""
    configure_log(OmegaConf.create(job["logging"]))
    compute_job(job)


def main() -> None:
    """Check the command line, then run the job or sweep."""
    logging.raiseExceptions = False  # do not print a traceback if the log cannot be written
    if launch.run_rank(compute_as_rank):
        return
    check_command_line(COMMAND, sys.argv[1:])
    signal.signal(signal.SIGTERM, _stop)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # make Hydra re-raise exceptions
    try:
        with ending_with_reader():
            _job()
    except ValueError as error:  # a search without a complete trial
        sys.exit(f"kitsseg.train: {error}")
    except OSError as error:  # Hydra could not create the folder of the run or sweep
        if error.filename is None:
            raise
        sys.exit(f"kitsseg.train: {error.filename}: {error.strerror}; set a folder that you can write")
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning exits with code 1 if training is interrupted.
        interrupted = isinstance(error, KeyboardInterrupt) or isinstance(
            error.__context__, KeyboardInterrupt
        )
        code = 130 if interrupted else getattr(error, "code", None)
        if code in (130, STOPPED):
            reason = "interrupted" if interrupted else "stopped by SIGTERM"
            print_error("train", f"{reason}; repeat the command to resume")
        sys.exit(code)


def _stop(number: int, frame: object) -> None:
    """Raise `SystemExit`, so that the jobs are ended and their status is written."""
    raise SystemExit(STOPPED)


if __name__ == "__main__":
    main()
