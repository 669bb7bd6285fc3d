"""Compute the final metrics of a trained network per case, over all slices on the original grid."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
from torch import nn

from kitsseg.data.io.nifti.read import read_label_volume
from kitsseg.data.io.nifti.write import save_volume
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.progress import progress
from kitsseg.data.slices.datamodule import SliceDataModule
from kitsseg.data.volumes.datamodule import PatchDataModule
from kitsseg.evaluation import metrics
from kitsseg.inference.slicewise import segment_stored
from kitsseg.inference.volumewise import segment_stored_volume
from kitsseg.models.window import Window
from kitsseg.system import distributed

OVERLAP = 0.5  # overlap of adjacent patches of 3D networks, as a share of their side

log = logging.getLogger("kitsseg")


def evaluate(
    net: nn.Module,
    window: Window,
    data: SliceDataModule,
    trainer: pl.Trainer,
    mirror_axes: Sequence[int],
    stage: str,
    predictions: Path,
    limit: int | None = None,
) -> metrics.SplitScores:
    """Segment all training and validation cases and compare each with its label volume.

    Each case is computed by one rank, so its metrics do not depend on the number of ranks.

    Args:
        net: moved to the device of ``trainer`` and put into evaluation mode.
        window: maps HU to the input of the network.
        data: after `setup`.
        trainer: defines device and precision.
        mirror_axes: axes of test-time mirroring, see `kitsseg.inference.slicewise.segment_stored`.
        stage: name of the stage, for the log.
        predictions: folder for the label volumes of the validation cases.
        limit: number of training and of validation cases (``trainer.fast_dev_run``); None for all.

    Returns:
        For training and validation cases: Dice of each region (None if it is absent from truth and
        prediction) and the voxel counts from which it is computed.
    """
    net = net.to(trainer.strategy.root_device).eval()
    number = {case: i for i, case in enumerate(data.store.ids)}
    split_scores: metrics.SplitScores = {}
    for part, ids in (("train", data.split.train), ("validation", data.split.validation)):
        title = f"{stage}, {part} cases"
        ids = ids[:limit]
        mine = ids[distributed.rank() :: distributed.world_size()]
        own: metrics.CaseScores = {}
        for case in progress(mine, title, leave=False, disable=distributed.rank() > 0):
            label = segment_case(net, window, data, number[case], mirror_axes, trainer)
            source = data.cases[case]
            truth = read_label_volume(source.truth, source.stored)
            voxel_ml = math.prod(truth.layout.spacing_mm) / 1000
            own[case] = {**score_case(label, truth.label, data.labels), "voxel_ml": voxel_ml}
            if part == "validation":
                save_volume(predictions / f"{case}.nii.gz", label, truth.layout)
        split_scores[part] = distributed.gather(own, ids)
        means = (
            f"{region} {metrics.case_mean(split_scores[part], region):.3f}"
            for region in data.labels.table_regions
        )
        log.info(f"{title}: {', '.join(means)}")
    return split_scores


def segment_case(
    net: nn.Module,
    window: Window,
    data: SliceDataModule,
    number: int,
    mirror_axes: Sequence[int],
    trainer: pl.Trainer,
) -> npt.NDArray[np.uint8]:
    """Return the class ids ``[S, H, W]`` of a stored case on its native grid."""
    images = data.store.images(number)
    grid: Any = data.store.grid(number)
    device, autocast = trainer.strategy.root_device, trainer.strategy.precision_plugin.forward_context
    if isinstance(data, PatchDataModule):
        return segment_stored_volume(
            net, window, images, grid, data.plan.patch, OVERLAP, mirror_axes,
            len(data.labels.classes), device, autocast,
        )  # fmt: skip
    return segment_stored(net, window, images, grid, data.neighbours, mirror_axes, device, autocast)


def score_case(
    prediction: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], labels: Labels = KITS19
) -> dict[str, Any]:
    """Return Dice and voxel counts per region of two label volumes ``[S, H, W]``."""
    counts = metrics.volume_counts(prediction, truth, labels)
    scores = metrics.dice(counts).tolist()
    return {
        "dice": {r: None if math.isnan(s) else s for r, s in zip(labels.regions, scores, strict=True)},
        "voxels": dict(zip(labels.regions, counts.tolist(), strict=True)),
    }
