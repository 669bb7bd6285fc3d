"""Duration of an epoch of kitsseg.train, compared with a bare loop on one batch in memory.

    python benchmarks/training.py [--epochs N] [OVERRIDE ...]

The run is that of `kitsseg.train` with these overrides on the phantom, such as `model=unet3d`:
Trainer, loader, augmentation, loss, metrics, CSV log and checkpoints. Before each epoch, a copy of
the network is trained and validated in the same precision by a bare loop on one batch in memory, so
both are measured under the same load. The first epoch is left out.
"""

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import ratios
import torch
from clock import now
from hydra import compose, initialize_config_dir
from torch import nn

from kitsseg import train
from kitsseg.config.components import instantiate
from kitsseg.config.validation import CONFIG_DIR
from kitsseg.system import hardware, package_messages, provenance
from kitsseg.training.task import SegmentationTask

DEFAULTS = ["data=phantom", "data.source.cases=20", "data.background_keep=1"]


class Clock(pl.Callback):
    """Measures training and validation of each epoch, and those of the bare loops before it."""

    def __init__(self, net: nn.Module, optimizer: Callable[..., Any], steps: int, device: Any) -> None:
        self.net, self.steps, self.device = net.to(device), steps, device
        self.seconds: dict[str, list[float]] = {"train": [], "bare train": [], "val": [], "bare val": []}
        self.optimizer = optimizer(list(self.net.parameters()))
        self.started = self.validating = 0.0
        self.validation = 0.0
        self.resident: dict[str, Any] = {}

    def on_train_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        self._finish_epoch()
        self._run_bare(trainer, module)
        self.started, self.validation = now(self.device), 0.0

    def on_validation_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.validating = now(self.device)

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.validation += now(self.device) - self.validating

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        self._finish_epoch()

    def _finish_epoch(self) -> None:
        if self.started:
            self.seconds["train"].append(now(self.device) - self.started - self.validation)
            self.seconds["val"].append(self.validation)

    def _run_bare(self, trainer: pl.Trainer, module: Any) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not self.resident:
            workers, data.workers = data.workers, 0  # only one batch is needed
            loaders = {"train": data.train_dataloader(), "val": data.val_dataloader()}
            data.workers = workers
            for name, loader in loaders.items():
                batch = next(iter(loader))
                image, label = batch["image"].to(self.device), batch["label"].to(self.device)
                self.resident[name] = module.window(image), label
        autocast = trainer.strategy.precision_plugin.forward_context
        (image, label), slices = self.resident["train"], len(data.rows(0))
        self.net.train()
        start = now(self.device)
        for _ in range(self.steps):
            with autocast():
                loss = module.loss(self.net(image), label)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        each = (now(self.device) - start) / self.steps / len(image)
        self.seconds["bare train"].append(each * slices)
        image, slices = self.resident["val"][0], validated(data)
        self.net.eval()
        start = now(self.device)
        with torch.inference_mode(), autocast():
            for _ in range(self.steps):
                self.net(image)
        each = (now(self.device) - start) / self.steps / len(image)
        self.seconds["bare val"].append(each * slices)


def validated(data: Any) -> int:
    """Return the number of validation slices or tiles."""
    return len(data._validation_samples()[1])


def loader_rate(data: Any) -> float:
    """Return the rate of the loader alone, measured from its first batch on."""
    batches = iter(data.train_dataloader())
    next(batches)
    start, slices = time.perf_counter(), sum(len(batch["label"]) for batch in batches)
    return slices / (time.perf_counter() - start)


def prepare_run(overrides: list[str], folder: Path, steps: int) -> tuple[Any, Any, Any, Clock, str]:
    """Return Trainer, task, data, clock, and a description of a run of kitsseg.train."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("train", [*overrides, "logger=none"])
    experiment = train.make_experiment(cfg, folder, "", [], [pl.loggers.CSVLogger(folder)])
    data, compiled = experiment.data, experiment.compiled
    data.prepare_data()
    data.setup()
    bare = hardware.optimize(instantiate(experiment.settings["model"]), cfg.channels_last, compiled)
    trainer = experiment.make_trainer("train", cfg.trainer.max_epochs)
    optimizer = experiment.optimizer
    task = SegmentationTask(
        experiment.net, experiment.loss, experiment.window, optimizer, experiment.scheduler
    )
    clock = Clock(bare, optimizer, steps, trainer.strategy.root_device)
    trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    precision = str(trainer.precision)
    device = provenance.describe_environment(clock.device, precision, compiled)["device"]
    about = (
        f"{len(data.rows(0))} training and {validated(data)} validation {data.samples}, batch "
        f"{data.batch_size}, {data.workers} loader processes, {precision}"
        f"{', compiled' if compiled else ''}, {device}"
    )
    return trainer, task, data, clock, about


def report(clock: Clock, samples: str) -> None:
    """Print and store the ratios of epochs of ``samples``: slices, or patches in 3D."""
    dims, aim = ("3D ", "<= 1.10") if samples == "patches" else ("", "<= 1.08")
    print("\n| epoch | kitsseg, s | bare, s | ratio (least, most) |\n|---|---|---|---|")
    for name, title in (("train", "training"), ("val", "validation")):
        ours, bare = (clock.seconds[key][1:] for key in (name, f"bare {name}"))
        each = [a / b for a, b in zip(ours, bare, strict=True)]
        print(
            f"| {title} | {statistics.median(ours):.2f} | {statistics.median(bare):.2f} | "
            f"{statistics.median(each):.3f} ({min(each):.3f}, {max(each):.3f}) |"
        )
        ratios.store(f"{dims}{title} epoch / bare loop", each, aim if name == "train" else "<= 1.10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=6, help="steps of each bare loop")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    package_messages.silence()
    with tempfile.TemporaryDirectory() as name:
        overrides = [*DEFAULTS, f"paths.data={name}/data", *args.overrides]
        overrides.append(f"trainer.max_epochs={args.epochs}")
        trainer, task, data, clock, about = prepare_run(overrides, Path(name), args.steps)
        trainer.fit(task, datamodule=data)
        rate = loader_rate(data)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {' '.join(args.overrides)}")
    print(f"{about}\nthe loader alone: {rate:.0f} {data.samples} per second")
    report(clock, data.samples)


if __name__ == "__main__":
    main()
