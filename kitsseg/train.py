"""Train a network, fine-tune it on tumour slices, evaluate both stages, record the figures.

``python -m kitsseg.train --help`` shows the groups; ``-m`` runs a sweep, which ends with Table 1.
"""

import logging
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from kitsseg.config import command_line, validation
from kitsseg.config.components import instantiate
from kitsseg.data.slices import loader_server
from kitsseg.evaluation import metrics
from kitsseg.jobs import launch, sweep
from kitsseg.system import distributed, interrupts, quiet_libraries, startup
from kitsseg.system.files import write_json

# torch, Lightning and MONAI are imported where a job runs: --help and refusals answer at once.
if TYPE_CHECKING:
    import pytorch_lightning as pl
    from torch import nn

    from kitsseg.data.slices.datamodule import SliceDataModule
    from kitsseg.training.task import SegmentationTask

log = logging.getLogger("kitsseg")


def run(cfg: DictConfig, folder: Path, model: str, overrides: list[str]) -> None:
    """One job; ``folder`` then holds its checkpoints, logs and ``result.json``."""
    from kitsseg.tracking.safe_logger import open_loggers

    with startup.uncollected():
        quiet_libraries.quieten()
    nodes = (cfg.logger or {}).values() if distributed.rank() == 0 else ()
    with open_loggers(partial(instantiate, node) for node in nodes) as loggers:
        train(cfg, folder, model, overrides, loggers)


def train(cfg: DictConfig, folder: Path, model: str, overrides: list[str], loggers: list[Any]) -> None:
    """Both stages, their figures, and the record of it all."""
    import pytorch_lightning as pl

    from kitsseg.data.sources.clinical import read_clinical
    from kitsseg.inference import checkpoint
    from kitsseg.jobs.job_folder import Phases
    from kitsseg.reporting import run_record
    from kitsseg.system import hardware, provenance, syncnorm
    from kitsseg.tracking import safe_logger
    from kitsseg.training import showcase
    from kitsseg.training.task import SegmentationTask

    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    first = distributed.rank() == 0
    phase = Phases(folder, write=first)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    for logger in loggers:
        logger.log_hyperparams(settings)

    split, augmentation = instantiate(cfg.split), instantiate(cfg.augmentation)
    data = instantiate(cfg.data, split=split, augmentation=augmentation, seed=cfg.seed)
    phase("prepare", data.open, always=True)
    if first:
        write_json(folder / "split.json", asdict(data.split))

    compiled = hardware.choose_compile(cfg.trainer.accelerator, cfg.compile)
    net = hardware.ready(instantiate(cfg.model), cfg.channels_last, compiled)
    window, loss, scheduler = map(instantiate, (cfg.window, cfg.loss, cfg.scheduler))
    precision = hardware.choose_precision(cfg.trainer.accelerator, cfg.trainer.precision)
    trainer = make_trainer(cfg, folder, loggers, precision, "train", "", cfg.trainer.max_epochs)
    if trainer.world_size > 1:
        trainer.strategy.setup_environment()  # now: an attempt that goes on may have nothing to fit
        if cfg.trainer.sync_batchnorm:
            net = syncnorm.synchronised(net, trainer.strategy.root_device)
    environment = provenance.environment(trainer.strategy.root_device, precision, compiled)
    about = {"environment": environment, "config": settings, "split": asdict(data.split)}
    header = checkpoint.header(settings["model"], window, data.size, data.neighbours, about)
    log.info(
        f"{model}, seed {cfg.seed}: {len(data.split.train)} cases train on {len(data.rows(0))} slices, "
        f"{len(data.split.validation)} validate; {precision}; {folder}"
    )

    tunes = validation.is_on(cfg.finetune)

    def figures(trainer: "pl.Trainer", stage: str, kept: str) -> metrics.Figures:
        from kitsseg.training.evaluation import (
            evaluate,  # not before it trains: that takes a tenth of a second
        )

        return evaluate(
            net, window, data, trainer, cfg.mirror_axes, stage, folder / "predictions" / kept
        )

    # What an earlier attempt brought to an end is taken from there; a stage that was cut off goes on.
    optimizer = instantiate(cfg.optimizer)
    task = SegmentationTask(net, loss, window, optimizer, scheduler, header=header)
    fitted = {"train": phase("train", lambda: fit(trainer, task, data, folder, "train"))}
    use_best(net, folder, "train")
    before = phase("evaluate", lambda: figures(trainer, "stage one", "before" if tunes else ""))

    after = None
    if tunes:
        finetune, prefix = instantiate(cfg.finetune), "finetune/"
        tuner = make_trainer(cfg, folder, loggers, precision, "finetune", prefix, finetune.epochs)
        optimizer, frozen = instantiate(cfg.optimizer, lr=finetune.lr), finetune.freeze(net)
        tuned = SegmentationTask(net, loss, window, optimizer, scheduler, frozen, prefix, header)
        shown = data.for_tumour_slices()
        fitted["finetune"] = phase("finetune", lambda: fit(tuner, tuned, shown, folder, "finetune"))
        use_best(net, folder, "finetune")
        after = phase("evaluate fine-tuned", lambda: figures(tuner, "fine-tuned", ""))
    elif cfg.finetune and first:
        log.warning(f"finetune=none: {', '.join(cfg.finetune)} has no effect")

    if not first:
        return
    known = read_clinical(data.root)
    record = run_record.Record(
        name=cfg.name,
        model=model,
        seed=cfg.seed,
        overrides=overrides,
        before=before,
        after=after,
        split=asdict(data.split),
        epochs={stage: done["epochs"] for stage, done in fitted.items()},
        config=settings,
        environment=environment,
        seconds=phase.seconds,
        curves={stage: done["curve"] for stage, done in fitted.items()},
        clinical={case: known[case] for case in data.split.validation if case in known},
    )
    record.write(folder)  # at once: what follows may fail, the figures stay
    showcase.write(folder, record.final["validation"], data, net, window, trainer)
    safe_logger.log_run(loggers, record, folder)


def make_trainer(
    cfg: DictConfig,
    folder: Path,
    loggers: list[Any],
    precision: str,
    stage: str,
    prefix: str,
    max_epochs: int,
) -> "pl.Trainer":
    """The configured Trainer for one stage, which keeps that stage's best and last weights."""
    from pytorch_lightning.callbacks import ModelCheckpoint

    from kitsseg.training.callbacks.learning_curve import Curve
    from kitsseg.training.callbacks.resume import StepSeed, Stopped, WholeFiles

    # At an epoch's end, when the scheduler has stepped: see the task.
    keep = partial(
        ModelCheckpoint,
        checkpoints(folder, stage),
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    best = keep(filename="best", monitor=prefix + cfg.checkpoint.monitor, mode=cfg.checkpoint.mode)
    last = keep(filename="last")  # after best: it holds what is known of it
    callbacks = [instantiate(callback) for callback in cfg.callbacks.values()]
    callbacks += [StepSeed(cfg.seed, stage), Stopped(), Curve(), best, last]
    plugins = [WholeFiles(), *distributed.plugins()]
    given = {"precision": precision, "max_epochs": max_epochs, "logger": loggers}
    given |= {"plugins": plugins, "sync_batchnorm": False}  # see syncnorm
    return instantiate(cfg.trainer, callbacks=callbacks, **given)


def checkpoints(folder: Path, stage: str) -> Path:
    """Where a stage's ``best.ckpt`` and ``last.ckpt`` lie."""
    return folder / "checkpoints" / stage


def fit(
    trainer: "pl.Trainer", task: "SegmentationTask", data: "SliceDataModule", folder: Path, stage: str
) -> dict[str, Any]:
    """Train, from where an earlier attempt was cut off if there was one.

    Returns:
        ``epochs``: how many ran and which was best; ``curve``: the learning curve.
    """
    from kitsseg.inference import checkpoint
    from kitsseg.training.callbacks.learning_curve import Curve

    last = checkpoints(folder, stage) / "last.ckpt"
    going_on = last.is_file()
    if going_on:
        log.info(f"going on after epoch {checkpoint.read(last)['epoch'] + 1} of stage {stage}: {folder}")
    trainer.fit(task, datamodule=data, ckpt_path=last if going_on else None)
    trainer.strategy.barrier()  # the first rank writes what all read
    best = checkpoint.read(checkpoints(folder, stage) / "best.ckpt")
    (curve,) = (callback for callback in trainer.callbacks if isinstance(callback, Curve))  # type: ignore[attr-defined]
    return {"epochs": {"run": trainer.current_epoch, "best": best["epoch"] + 1}, "curve": curve.epochs}


def use_best(net: "nn.Module", folder: Path, stage: str) -> None:
    """Put the stage's best weights into the network."""
    from kitsseg.inference import checkpoint

    best = checkpoint.read(checkpoints(folder, stage) / "best.ckpt")
    net.load_state_dict(checkpoint.weights(best))


@hydra.main(version_base="1.3", config_path=str(validation.CONFIG_DIR), config_name="train")
def _job(cfg: DictConfig) -> float | None:
    context = HydraConfig.get()
    folder, multirun = Path(context.runtime.output_dir), context.mode == RunMode.MULTIRUN
    task = {
        "config": OmegaConf.to_container(cfg, resolve=True),
        "folder": str(folder),
        "model": context.runtime.choices["model"],
        "overrides": [o for o in context.overrides.task if not o.startswith("seed=")],
        "logging": OmegaConf.to_container(context.job_logging, resolve=True),
    }
    about = {"name": cfg.name, "seed": cfg.seed, "number": context.job.num if multirun else 0}
    about |= {key: task[key] for key in ("model", "overrides")}
    processes = distributed.wanted(cfg.trainer)

    def work() -> None:
        # A sweep's jobs run apart from it, so that none can take it or another one down.
        if distributed.count() == 1 and (multirun or processes > 1):
            launch.start(folder, task, processes, anew=bool(context.job.env_set))
        else:
            compute(task)

    sweep.guard(work, task["config"], about)
    return sweep.objective(folder)  # for a sweeper that searches


def compute(task: dict[str, Any]) -> None:
    """A job as `_job` describes it, in this process."""
    if distributed.rank() > 0:
        log.setLevel(logging.WARNING)
    cfg = OmegaConf.create(task["config"])
    run(cfg, Path(task["folder"]), task["model"], task["overrides"])


def ready() -> None:
    """Import what every job needs."""
    with startup.uncollected():
        quiet_libraries.quieten()
        import kitsseg.data.slices.datamodule
        import kitsseg.training.task  # noqa: F401


def compute_as_rank(task: dict[str, Any]) -> None:
    """The same in a process that `kitsseg.jobs.launch` started, which Hydra hasn't set up."""
    if loader_server.count(task["config"]["data"]["workers"]):
        loader_server.start()
    configure_log(OmegaConf.create(task["logging"]))
    compute(task)


def begin(settings: dict[str, Any]) -> validation.Look | None:
    """Begin the processes that a job of this config will want: they import while its check does.

    Of several ranks the first checks it. Not where they have GPUs: which ones, a process must be told
    before it asks for any.
    """
    trainer = settings["trainer"]
    processes = distributed.wanted(trainer)
    if processes > 1 and distributed.count() == 1:
        launch.begin(processes)
        return None if distributed.uses_gpus(trainer) else launch.look
    if loader_server.count(settings["data"]["workers"]) > 0:
        loader_server.start()
    return None


def look(command: str, plain: dict[str, Any]) -> list[str]:
    """`kitsseg.config.validation.look` for the process above this one."""
    with startup.uncollected():
        return validation.look(command, plain, {})


def main() -> None:
    """The command: refuse a wrong configuration, then hand over to Hydra."""
    logging.raiseExceptions = False  # a log that can't be written is no reason to stop
    if launch.given():
        interrupts.as_ever()
        launch.compute(ready, look, compute_as_rank)
        return
    if distributed.count() > 1 and {"-m", "--multirun"} & set(sys.argv):
        command_line.refuse(
            "train", ["a sweep starts the ranks of its jobs itself: leave out torchrun or srun"]
        )
    command_line.check_command_line("train", sys.argv[1:], begin)
    interrupts.as_ever()
    sys.argv[1:] = sweep.name_jobs(sys.argv[1:])
    os.environ[launch.OWNER] = str(os.getpid())
    with sweep.ending_searches():
        _job()


if __name__ == "__main__":
    main()
