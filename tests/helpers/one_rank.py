"""One rank of a job, for tests/system/test_distributed.py: validate fixed weights, then train."""

import json
import sys
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch

from kitsseg.models.unet import UNet
from kitsseg.system import distributed
from kitsseg.training.final_evaluation import evaluate
from tests.helpers.parts import make_data, make_task

GLOBAL_BATCH = 6


class Losses(pl.Callback):
    """Collect the training and validation loss of each epoch."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        names = ("train/loss", "val/loss")
        self.seen.append([float(trainer.callback_metrics[name]) for name in names])


def main(blocks: Path, out: Path) -> None:
    torch.manual_seed(0)
    count = distributed.world_size()
    batch = GLOBAL_BATCH // count
    data = make_data(blocks, out / "prepared", batch_size=batch, background_keep=1.0)
    losses = Losses()
    trainer = pl.Trainer(
        accelerator="cpu", devices=count, strategy="ddp" if count > 1 else "auto", max_epochs=2,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, num_sanity_val_steps=0,
        enable_model_summary=False, use_distributed_sampler=False, callbacks=[losses],
        plugins=[distributed.cluster_environment()],
    )  # fmt: skip
    # On CPUs, batch norms are not synchronised over ranks.
    net = UNet(width=4, depth=2, norm="instance", class_prior=None)
    if count > 1:
        trainer.strategy.setup_environment()
    task = make_task(net, optimizer=partial(torch.optim.SGD, lr=0.1))
    (validated,) = trainer.validate(task, datamodule=data, verbose=False)
    figures = evaluate(net, task.window, data, trainer, [], "fixed", out / f"of{count}")
    trainer.fit(task, datamodule=data)
    if distributed.rank() == 0:
        weights = {name: value.tolist() for name, value in net.state_dict().items()}
        found = {"validated": validated, "figures": figures, "losses": losses.seen, "weights": weights}
        (out / f"{count}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
