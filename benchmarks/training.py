"""What an epoch of kitsseg.train costs beyond the network: against a bare loop on one resident batch.

    python benchmarks/training.py [--epochs N] [OVERRIDE ...]

The run is that of `kitsseg.train` with these overrides (Trainer, loader, augmentation, loss, metrics,
CSV log, checkpoints) on the phantom. Before each epoch a copy of the network is trained by a loop of
forward, loss, backward and step on a batch that lies ready, and validates likewise, in the same
precision; so both meet the same machine. The first epoch is left out.
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
from kitsseg.data.slices.datamodule import VALIDATION_BATCH
from kitsseg.system import hardware, provenance, quiet_libraries
from kitsseg.training.task import SegmentationTask

DEFAULTS = ["data=phantom", "data.source.cases=20", "data.background_keep=1"]


class Clock(pl.Callback):
    """Times each epoch's training and validation, and before it those of the bare loops."""

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
            workers, data.workers = data.workers, 0  # of a loader that gives one batch
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
        image, slices = self.resident["val"][0], len(data.validation_rows)
        self.net.eval()
        start = now(self.device)
        with torch.inference_mode(), autocast():
            for _ in range(self.steps):
                self.net(image)
        each = (now(self.device) - start) / self.steps / len(image)
        self.seconds["bare val"].append(each * slices)


def slices_a_second(data: Any) -> float:
    """What the loader gives when nobody trains, from its first batch on."""
    batches = iter(data.train_dataloader())
    next(batches)
    start, slices = time.perf_counter(), sum(len(batch["label"]) for batch in batches)
    return slices / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=6, help="of each bare loop")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    quiet_libraries.quieten()
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*DEFAULTS, f"paths.data={folder}/data", *args.overrides]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = compose("train", [*overrides, f"trainer.max_epochs={args.epochs}"])
        pl.seed_everything(0, verbose=False)
        split, augmentation = instantiate(cfg.split), instantiate(cfg.augmentation)
        data = instantiate(cfg.data, split=split, augmentation=augmentation, seed=0)
        data.prepare_data()
        data.setup()
        compiled = hardware.choose_compile(cfg.trainer.accelerator, cfg.compile)
        net, bare = (
            hardware.ready(instantiate(cfg.model), cfg.channels_last, compiled) for _ in range(2)
        )
        window, loss, scheduler = map(instantiate, (cfg.window, cfg.loss, cfg.scheduler))
        precision = hardware.choose_precision(cfg.trainer.accelerator, cfg.trainer.precision)
        loggers = [pl.loggers.CSVLogger(folder)]
        trainer = train.make_trainer(
            cfg, Path(folder), loggers, precision, "train", "", cfg.trainer.max_epochs
        )
        optimizer = instantiate(cfg.optimizer)
        task = SegmentationTask(net, loss, window, optimizer, scheduler)
        clock = Clock(bare, optimizer, args.steps, trainer.strategy.root_device)
        trainer.callbacks.append(clock)  # type: ignore[attr-defined]
        trainer.fit(task, datamodule=data)
        rate = slices_a_second(data)
        device = provenance.environment(clock.device, precision, compiled)["device"]
        about = (
            f"{len(data.rows(0))} training and {len(data.validation_rows)} validation slices, batch "
            f"{data.batch_size} and {VALIDATION_BATCH}, {data.workers} loader processes, {precision}"
            f"{', compiled' if compiled else ''}, {device}"
        )
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {' '.join(args.overrides)}")
    print(f"{about}\nthe loader alone: {rate:.0f} slices a second")
    print("\n| an epoch's | kitsseg, s | bare, s | ratio (least, most) |\n|---|---|---|---|")
    for name, title in (("train", "training"), ("val", "validation")):
        ours, bare = (clock.seconds[key][1:] for key in (name, f"bare {name}"))
        each = [a / b for a, b in zip(ours, bare, strict=True)]
        print(
            f"| {title} | {statistics.median(ours):.2f} | {statistics.median(bare):.2f} | "
            f"{statistics.median(each):.3f} ({min(each):.3f}, {max(each):.3f}) |"
        )
        ratios.keep(f"{title} epoch / bare loop", each, "<= 1.08" if name == "train" else "<= 1.10")


if __name__ == "__main__":
    main()
