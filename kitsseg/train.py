"""Train a network, fine-tune it on tumour slices, evaluate both stages, record the figures.

``python -m kitsseg.train --help`` shows the groups; ``-m`` runs a sweep, which ends with Table 1.
"""

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from kitsseg import cli, config, sweep
from kitsseg.components import instantiate
from kitsseg.files import write_json

# torch, Lightning and MONAI are imported where a job runs: --help and refusals answer at once.
if TYPE_CHECKING:
    import pytorch_lightning as pl

    from kitsseg.data.datamodule import SliceDataModule
    from kitsseg.task import SegmentationTask

log = logging.getLogger("kitsseg")


def run(cfg: DictConfig, folder: Path, model: str, overrides: list[str]) -> None:
    """One job; ``folder`` then holds its checkpoints, logs and ``result.json``."""
    from kitsseg.tracking.guarded import opened

    quieten()
    with opened(partial(instantiate, node) for node in (cfg.logger or {}).values()) as loggers:
        train(cfg, folder, model, overrides, loggers)


def train(cfg: DictConfig, folder: Path, model: str, overrides: list[str], loggers: list[Any]) -> None:
    """Both stages, their figures, and the record of it all."""
    import pytorch_lightning as pl

    from kitsseg import checkpoint, hardware, provenance, results, showcase
    from kitsseg.data.clinical import read_clinical
    from kitsseg.evaluation import evaluate
    from kitsseg.task import SegmentationTask
    from kitsseg.tracking import guarded

    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    seconds: dict[str, float] = {}
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    for logger in loggers:
        logger.log_hyperparams(settings)

    with timed(seconds, "prepare"):
        split, augmentation = instantiate(cfg.split), instantiate(cfg.augmentation)
        data = instantiate(cfg.data, split=split, augmentation=augmentation, seed=cfg.seed)
        data.open()
        write_json(folder / "split.json", asdict(data.split))

    net = hardware.ready(instantiate(cfg.model), cfg.channels_last, cfg.compile)
    window, loss, scheduler = map(instantiate, (cfg.window, cfg.loss, cfg.scheduler))
    precision = hardware.choose_precision(cfg.trainer.accelerator, cfg.trainer.precision)
    trainer = make_trainer(cfg, folder, loggers, precision, "train", "", cfg.trainer.max_epochs)
    environment = provenance.environment(trainer.strategy.root_device, precision)
    about = {"environment": environment, "config": settings, "split": asdict(data.split)}
    header = checkpoint.header(settings["model"], window, data.size, data.neighbours, about)
    log.info(
        f"{model}, seed {cfg.seed}: {len(data.split.train)} cases train on {len(data.rows(0))} slices, "
        f"{len(data.split.validation)} validate; {precision}; {folder}"
    )

    tunes, predictions = config.is_on(cfg.finetune), folder / "predictions"
    epochs, curves = {}, {}
    with timed(seconds, "train"):
        optimizer = instantiate(cfg.optimizer)
        task = SegmentationTask(net, loss, window, optimizer, scheduler, header=header)
        epochs["train"], curves["train"] = fit(trainer, task, data)
    with timed(seconds, "evaluate"):
        kept = predictions / "before" if tunes else predictions
        before = evaluate(net, window, data, trainer, cfg.mirror_axes, "stage one", kept)

    after = None
    if tunes:
        finetune, prefix = instantiate(cfg.finetune), "finetune/"
        with timed(seconds, "finetune"):
            trainer = make_trainer(cfg, folder, loggers, precision, "finetune", prefix, finetune.epochs)
            optimizer, frozen = instantiate(cfg.optimizer, lr=finetune.lr), finetune.freeze(net)
            task = SegmentationTask(net, loss, window, optimizer, scheduler, frozen, prefix, header)
            epochs["finetune"], curves["finetune"] = fit(trainer, task, data.for_tumour_slices())
        with timed(seconds, "evaluate fine-tuned"):
            after = evaluate(net, window, data, trainer, cfg.mirror_axes, "fine-tuned", predictions)
    elif cfg.finetune:
        log.warning(f"finetune=none: {', '.join(cfg.finetune)} has no effect")

    known = read_clinical(data.root)
    record = results.Record(
        name=cfg.name,
        model=model,
        seed=cfg.seed,
        overrides=overrides,
        before=before,
        after=after,
        split=asdict(data.split),
        epochs=epochs,
        config=settings,
        environment=environment,
        seconds=seconds,
        curves=curves,
        clinical={case: known[case] for case in data.split.validation if case in known},
    )
    record.write(folder)  # at once: what follows may fail, the figures stay
    showcase.write(folder, record.final["validation"], data, net, window, trainer)
    guarded.log_run(loggers, record, folder)


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

    from kitsseg.callbacks.curve import Curve

    keep = ModelCheckpoint(
        folder / "checkpoints" / stage,
        filename="best",
        monitor=prefix + cfg.checkpoint.monitor,
        mode=cfg.checkpoint.mode,
        save_last=True,
        enable_version_counter=False,
    )
    callbacks = [instantiate(callback) for callback in cfg.callbacks.values()]
    given = {"precision": precision, "max_epochs": max_epochs, "logger": loggers}
    return instantiate(cfg.trainer, callbacks=[*callbacks, Curve(), keep], **given)


def fit(
    trainer: "pl.Trainer", task: "SegmentationTask", data: "SliceDataModule"
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Train, then put the best weights into the network.

    Returns:
        How many epochs ran and which was best, and the learning curve.
    """
    from kitsseg import checkpoint
    from kitsseg.callbacks.curve import Curve

    trainer.fit(task, datamodule=data)
    best = checkpoint.read(Path(trainer.checkpoint_callback.best_model_path))  # type: ignore[union-attr]
    task.net.load_state_dict(checkpoint.weights(best))
    (curve,) = (callback for callback in trainer.callbacks if isinstance(callback, Curve))  # type: ignore[attr-defined]
    return {"run": trainer.current_epoch, "best": best["epoch"] + 1}, curve.epochs


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Add the time that the block took under ``phase``."""
    start = time.monotonic()
    yield
    seconds[phase] = round(time.monotonic() - start, 2)


def quieten() -> None:
    """Leave out what Lightning and wandb say on every start and what doesn't apply to us."""
    os.environ.setdefault("WANDB_SILENT", "true")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in (
        ".*does not have many workers.*",
        ".*is smaller than the logging interval.*",
        ".*exists and is not empty.*",
        ".*LeafSpec.*",
        ".*in eval mode at the start of training.*",  # the frozen layers of stage two
    ):
        warnings.filterwarnings("ignore", text)


@hydra.main(version_base="1.3", config_path=str(config.CONFIG_DIR), config_name="train")
def _job(cfg: DictConfig) -> None:
    context = HydraConfig.get()
    overrides = [o for o in context.overrides.task if not o.startswith("seed=")]
    folder, model = Path(context.runtime.output_dir), context.runtime.choices["model"]
    sweep.guard(lambda: run(cfg, folder, model, overrides))


def main() -> None:
    """The command: refuse a wrong configuration, then hand over to Hydra."""
    cli.check_command_line("train", sys.argv[1:])
    _job()


if __name__ == "__main__":
    main()
