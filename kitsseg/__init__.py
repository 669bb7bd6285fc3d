"""Kidney and kidney-tumour segmentation in CT: an experiment framework on Lightning and Hydra.

The names below are the public Python API. They are imported on first use, so ``import kitsseg`` does not
import torch.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kitsseg.data.labels import Labels as Labels
    from kitsseg.data.slices.augment import Augmentation as Augmentation
    from kitsseg.data.slices.datamodule import SliceDataModule as SliceDataModule
    from kitsseg.data.sources.kits import Kits19 as Kits19
    from kitsseg.data.sources.nnunet import NnUNet as NnUNet
    from kitsseg.data.sources.phantom.phantom import Phantom as Phantom
    from kitsseg.data.sources.table import Table as Table
    from kitsseg.data.split import ColumnSplit as ColumnSplit
    from kitsseg.data.split import FileSplit as FileSplit
    from kitsseg.data.split import Grouped as Grouped
    from kitsseg.data.split import KFold as KFold
    from kitsseg.data.split import MLPerf42 as MLPerf42
    from kitsseg.data.split import Seeded as Seeded
    from kitsseg.data.split import Stratified as Stratified
    from kitsseg.data.volumes.datamodule import PatchDataModule as PatchDataModule
    from kitsseg.inference.segmenter import Segmenter as Segmenter
    from kitsseg.models.unet import AttentionUNet as AttentionUNet
    from kitsseg.models.unet import UNet as UNet
    from kitsseg.models.window import AutoWindow as AutoWindow
    from kitsseg.models.window import Window as Window
    from kitsseg.training.finetune import FineTune as FineTune
    from kitsseg.training.losses import DiceCrossEntropy as DiceCrossEntropy
    from kitsseg.training.losses import SliceMean as SliceMean
    from kitsseg.training.losses import SorensenDice as SorensenDice
    from kitsseg.training.task import SegmentationTask as SegmentationTask

__version__ = "0.1.0"

# albumentations asks a server for its newest version when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

_MODULES = {
    "AttentionUNet": "kitsseg.models.unet",
    "Augmentation": "kitsseg.data.slices.augment",
    "AutoWindow": "kitsseg.models.window",
    "ColumnSplit": "kitsseg.data.split",
    "DiceCrossEntropy": "kitsseg.training.losses",
    "FileSplit": "kitsseg.data.split",
    "FineTune": "kitsseg.training.finetune",
    "Grouped": "kitsseg.data.split",
    "KFold": "kitsseg.data.split",
    "Kits19": "kitsseg.data.sources.kits",
    "Labels": "kitsseg.data.labels",
    "MLPerf42": "kitsseg.data.split",
    "NnUNet": "kitsseg.data.sources.nnunet",
    "Phantom": "kitsseg.data.sources.phantom.phantom",
    "Seeded": "kitsseg.data.split",
    "SegmentationTask": "kitsseg.training.task",
    "Segmenter": "kitsseg.inference.segmenter",
    "SliceDataModule": "kitsseg.data.slices.datamodule",
    "PatchDataModule": "kitsseg.data.volumes.datamodule",
    "SliceMean": "kitsseg.training.losses",
    "SorensenDice": "kitsseg.training.losses",
    "Stratified": "kitsseg.data.split",
    "Table": "kitsseg.data.sources.table",
    "UNet": "kitsseg.models.unet",
    "Window": "kitsseg.models.window",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kitsseg' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
