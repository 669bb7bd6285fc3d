"""Build small tasks and data modules for several tests."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kitsseg.data.slices.augment import Augmentation
from kitsseg.data.slices.datamodule import SliceDataModule
from kitsseg.data.sources.kits import Kits19
from kitsseg.data.split import Seeded
from kitsseg.models.window import Window
from kitsseg.training.losses import SorensenDice
from kitsseg.training.task import SegmentationTask


def make_data(root: Path, prepared: Path, **options: Any) -> SliceDataModule:
    """Return a data module of the cases in ``root`` after `setup`; two of six are validation cases."""
    settings = {"batch_size": 4, "augmentation": Augmentation([]), **options}
    split = settings.pop("split", Seeded(0.33))
    data = SliceDataModule(root, Kits19(), split, prepared=prepared, **settings)
    data.prepare_data()
    data.setup()
    return data


def make_task(net: nn.Module, lr: float = 1e-3, **options: Any) -> SegmentationTask:
    """Return a task with Adam and a plateau schedule by default, as in the paper."""
    return SegmentationTask(
        net,
        options.pop("loss", SorensenDice()),
        Window(-79, 304, 101, 76.9),
        options.pop("optimizer", partial(torch.optim.Adam, lr=lr)),
        options.pop("scheduler", torch.optim.lr_scheduler.ReduceLROnPlateau),
        **options,
    )
