"""Run both training stages, evaluate them, and record the results."""

import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
from torch import nn

from kitsseg.data.slices.datamodule import SliceDataModule
from kitsseg.data.sources.clinical import read_clinical
from kitsseg.data.sources.kits import Kits19
from kitsseg.evaluation import metrics
from kitsseg.inference import checkpoint
from kitsseg.models.window import Window
from kitsseg.reporting.run_record import Record
from kitsseg.system import distributed, hardware, provenance
from kitsseg.system.files import file_version, fingerprint, write_json
from kitsseg.training import showcase
from kitsseg.training.callbacks.resume import AtomicCheckpointIO
from kitsseg.training.final_evaluation import evaluate
from kitsseg.training.finetune import FineTune
from kitsseg.training.losses import Loss
from kitsseg.training.stage import checkpoint_folder, fit, initialize, load_best, stage_callbacks
from kitsseg.training.task import SegmentationTask, fit_window

log = logging.getLogger("kitsseg")


class Phase(Protocol):
    """Computes a phase of a job, or returns the stored result if an earlier attempt finished it."""

    @property
    def seconds(self) -> dict[str, float]: ...

    def __call__(self, name: str, work: Callable[[], Any], always: bool = False) -> Any: ...


@dataclass
class Experiment:
    """One run: its settings and the objects built from them.

    Attributes:
        settings: the resolved configuration as plain values.
        folder: receives checkpoints, logs, predictions and ``result.json``.
        model: name of the model in tables.
        overrides: the overrides of the command line, without ``seed``.
        data: the slices.
        net: the network, compiled if ``compiled``.
        compiled: whether the network is compiled.
        window: maps HU to the input of the network; `run` fits an `AutoWindow`.
        loss: the loss of both stages.
        optimizer: called with the parameters to train, and with ``lr`` in stage two.
        scheduler: called with the optimizer.
        finetune: settings of stage two, or None without it.
        trainer: called with the arguments that differ between stages.
        callbacks: returns the configured callbacks for a stage.
        loggers: Lightning loggers; empty on all ranks but the first.
        init_from: checkpoint with the initial weights of stage one.
        resume_from: ``last.ckpt`` of stage one of another run, which this run continues.
    """

    settings: dict[str, Any]
    folder: Path
    model: str
    overrides: list[str]
    data: SliceDataModule
    net: nn.Module
    compiled: bool
    window: Window
    loss: Loss
    optimizer: Callable[..., Any]
    scheduler: Callable[..., Any]
    finetune: FineTune | None
    trainer: Callable[..., pl.Trainer]
    callbacks: Callable[[], list[pl.Callback]]
    loggers: Sequence[Any]
    init_from: Path | None = None
    resume_from: Path | None = None

    def run(self, phase: Phase) -> Record | None:
        """Train and evaluate both stages and write ``result.json``.

        Returns:
            The record, on the first rank only.
        """
        phase("prepare", self.data.prepare_data, always=True)
        self.data.setup()
        if self.finetune is not None:
            self.check_interval(self.data.for_target_slices())
        self.window = fit_window(self.window, self.data)
        trainer = self.make_trainer("train", self.settings["trainer"]["max_epochs"])
        if trainer.world_size > 1:
            trainer.strategy.setup_environment()  # also needed if the stage is already trained
        about = self.describe(trainer)
        network, data = self.settings["model"], self.data
        header = checkpoint.header(
            network, self.window, provenance=about, labels=data.labels, **data.inputs()
        )
        task = partial(SegmentationTask, self.net, window=self.window, header=header, labels=data.labels)

        # Each stage starts with an untrained loss, also if an earlier attempt has finished stage one.
        first, second = self.loss, deepcopy(self.loss)
        stage_one = task(first, optimizer=self.optimizer, scheduler=self.scheduler)
        if self.init_from is not None:
            initialize(self.net, self.init_from, self.settings["init_strict"])
        begin = partial(fit, trainer, stage_one, data, self.folder, "train", self.resume_from)
        fitted = {"train": phase("train", begin)}
        load_best(self.net, self.folder, "train")
        subfolder = "before" if self.finetune is not None else ""
        before = phase("evaluate", lambda: self.evaluate(trainer, "stage one", subfolder))

        after = None
        if (finetune := self.finetune) is not None:
            prefix = "finetune/"
            trainer = self.make_trainer("finetune", finetune.epochs)
            stage_two = task(
                second,
                optimizer=partial(self.optimizer, lr=finetune.lr),
                scheduler=with_rate(self.scheduler, finetune.lr),
                frozen=finetune.freeze(self.net),
                prefix=prefix,
            )
            shown, folder = data.for_target_slices(), self.folder
            tune = partial(fit, trainer, stage_two, shown, folder, "finetune")
            fitted["finetune"] = phase("finetune", tune)
            load_best(self.net, self.folder, "finetune")
            after = phase("evaluate fine-tuned", lambda: self.evaluate(trainer, "fine-tuned", ""))
        if distributed.rank() > 0:
            return None
        return self.record(about, before, after, fitted, phase.seconds, trainer)

    def check_interval(self, data: SliceDataModule) -> None:
        """Raise `ValueError` if stage two has too few batches for ``trainer.val_check_interval``."""
        settings = self.settings["trainer"]
        interval = settings.get("val_check_interval")
        ranks = distributed.world_size()
        batches = len(data.rows(0)) // ranks // data.batch_size + 1
        if isinstance(interval, int) and settings.get("check_val_every_n_epoch") and interval > batches:
            raise ValueError(
                f"trainer.val_check_interval={interval}: an epoch of stage two has about {batches} "
                "batches; set a share such as 0.5, or trainer.check_val_every_n_epoch=null"
            )

    def make_trainer(self, stage: str, max_epochs: int) -> pl.Trainer:
        """Return the Trainer of a stage, as configured, with the callbacks that every stage needs."""
        settings = self.settings["trainer"]
        monitor, mode = self.settings["checkpoint"]["monitor"], self.settings["checkpoint"]["mode"]
        own = stage_callbacks(self.folder, stage, self.settings["seed"], monitor, mode)
        on_gpus, synchronise = distributed.uses_gpus(settings), settings.get("sync_batchnorm", False)
        if synchronise and not on_gpus and distributed.world_size() > 1 and distributed.rank() == 0:
            log.warning("trainer.sync_batchnorm=true: on CPUs, each rank normalises its own slices")
        return self.trainer(
            callbacks=[*self.callbacks(), *own],
            logger=list(self.loggers),
            default_root_dir=self.folder,
            max_epochs=max_epochs,
            precision=hardware.choose_precision(settings["accelerator"], settings["precision"]),
            plugins=[AtomicCheckpointIO(), distributed.cluster_environment()],
            sync_batchnorm=synchronise and on_gpus,
        )

    def describe(self, trainer: pl.Trainer) -> dict[str, Any]:
        """Log a summary of the run; return its environment, configuration and split."""
        data, split = self.data, asdict(self.data.split)
        if distributed.rank() == 0:
            write_json(self.folder / "split.json", split)
            sha256 = data.store.hashes
            versions = {
                case.id: {
                    str(file.absolute()): [*file_version(file), sha256[case.id][kind]]
                    for kind, file in (("image", case.image), ("label", case.truth))
                }
                for case in data.cases.values()
            }
            write_json(self.folder / "cases.json", versions)
        device, precision = trainer.strategy.root_device, str(trainer.precision)
        log.info(
            f"{self.model}, seed {self.settings['seed']}: training cases {len(data.split.train)} "
            f"({len(data.rows(0))} {data.samples}), validation cases {len(data.split.validation)}"
            + (f", {len(data.split.test)} test cases, not used" if data.split.test else "")
        )
        log.info(f"precision {precision}, folder {self.folder}")
        environment = provenance.describe_environment(device, precision, self.compiled)
        return {"environment": environment, "config": self.settings, "split": split}

    def evaluate(self, trainer: pl.Trainer, stage: str, subfolder: str) -> metrics.SplitScores:
        """Return the metrics of all cases; write the label volumes of the validation cases."""
        mirror_axes, folder = self.settings["mirror_axes"], self.folder / "predictions" / subfolder
        limit = int(trainer.fast_dev_run) or None  # type: ignore[attr-defined]
        return evaluate(self.net, self.window, self.data, trainer, mirror_axes, stage, folder, limit)

    def record(
        self,
        about: dict[str, Any],
        before: metrics.SplitScores,
        after: metrics.SplitScores | None,
        fitted: dict[str, Any],
        seconds: dict[str, float],
        trainer: pl.Trainer,
    ) -> Record:
        """Write the record and the showcase; return the record."""
        is_kits = isinstance(self.data.source, Kits19)
        clinical = read_clinical(self.data.root) if is_kits else {}
        record = Record(
            name=self.settings["name"],
            model=self.model,
            seed=self.settings["seed"],
            overrides=self.overrides,
            before=before,
            after=after,
            epochs={stage: result["epochs"] for stage, result in fitted.items()},
            seconds=seconds,
            curves={stage: result["curve"] for stage, result in fitted.items()},
            clinical={c: clinical[c] for c in self.data.split.validation if c in clinical},
            labels=self.data.labels.as_dict(),
            window=self.window.settings(),
            hashes=self.data.store.hashes,
            checkpoints={
                s: fingerprint(checkpoint_folder(self.folder, s) / "best.ckpt") for s in fitted
            },
            **about,
        )
        record.write(self.folder)  # first, so that a later failure does not lose the results
        validation = record.final["validation"]
        # The evaluation did this, unless an earlier attempt finished it.
        self.net.to(trainer.strategy.root_device).eval()
        showcase.write(self.folder, validation, self.data, self.net, self.window, trainer)
        return record


def with_rate(scheduler: Callable[..., Any], lr: float) -> Callable[..., Any]:
    """Return a scheduler for stage two: one with ``max_lr`` (OneCycleLR) would replace the rate."""
    return partial(scheduler, max_lr=lr) if "max_lr" in getattr(scheduler, "keywords", {}) else scheduler
