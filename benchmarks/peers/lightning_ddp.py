"""Train a minimal model by Lightning in several processes on CPUs: python lightning_ddp.py RANKS."""

import sys
from typing import Any

import pytorch_lightning as pl
import torch
from probe import Probe
from torch.utils.data import DataLoader


class Minimal(pl.LightningModule):
    """A model with one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss: torch.Tensor = self.layer(batch["image"]).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


if __name__ == "__main__":
    trainer = pl.Trainer(
        accelerator="cpu", devices=int(sys.argv[1]), strategy="ddp", max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, callbacks=[Probe()],
    )  # fmt: skip
    trainer.fit(Minimal(), DataLoader([{"image": torch.ones(1)}] * 4))  # type: ignore[arg-type]
