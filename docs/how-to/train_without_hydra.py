"""Train a U-Net with attention gates in a plain Lightning script, then segment an image with it.

Usage: python docs/how-to/train_without_hydra.py KITS19_FOLDER OUTPUT_FOLDER [EPOCHS]
"""

import sys
from functools import partial
from pathlib import Path

import albumentations as A
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from kitsseg import (
    AttentionUNet,
    Augmentation,
    Kits19,
    Seeded,
    SegmentationTask,
    Segmenter,
    SliceDataModule,
    SorensenDice,
    Window,
)


def main(root: Path, output: Path, epochs: int = 2) -> None:
    pl.seed_everything(0, workers=True)
    data = SliceDataModule(
        root,
        source=Kits19(),
        split=Seeded(validation=0.2),
        augmentation=Augmentation([A.HorizontalFlip(p=0.5)]),
        prepared=output / "prepared",
        batch_size=8,
    )

    window = Window(low_hu=-79, high_hu=304, mean_hu=101, sd_hu=76.9)
    task = SegmentationTask(
        AttentionUNet(width=16),
        loss=SorensenDice(),
        window=window,
        optimizer=partial(torch.optim.Adam, lr=1e-3),
        scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau,
    )

    best = ModelCheckpoint(output, filename="best", monitor="val/loss", enable_version_counter=False)
    trainer = pl.Trainer(
        max_epochs=epochs,
        callbacks=[best],
        default_root_dir=output,
        use_distributed_sampler=False,  # the data module divides the slices among the devices
    )
    trainer.fit(task, datamodule=data)
    print({name: float(value) for name, value in trainer.callback_metrics.items()})

    case = data.split.validation[0]
    label = Segmenter.load(output / "best.ckpt")(data.cases[case].image)
    print(f"{case}: {(label > 0).sum()} voxels of kidney and tumour")


if __name__ == "__main__":
    folder, result = map(Path, sys.argv[1:3])
    main(folder, result, *map(int, sys.argv[3:4]))
