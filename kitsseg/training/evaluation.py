"""The figures of a trained network: every slice of every case, on its own grid, by region."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import nn
from tqdm import tqdm

from kitsseg.data.io.nifti import read_mask
from kitsseg.data.io.write import read_header, save_volume
from kitsseg.data.labels import OFFICIAL, REGIONS
from kitsseg.data.slices.datamodule import SliceDataModule
from kitsseg.evaluation import metrics
from kitsseg.evaluation.confusion import volume_counts
from kitsseg.evaluation.metrics import dice
from kitsseg.inference.slicewise import segment
from kitsseg.models.window import Window
from kitsseg.system import distributed

log = logging.getLogger("kitsseg")


def evaluate(
    net: nn.Module,
    window: Window,
    data: SliceDataModule,
    trainer: pl.Trainer,
    mirror_axes: Sequence[int],
    stage: str,
    predictions: Path,
) -> metrics.SplitScores:
    """Segment all training and validation cases, and compare each with its own label volume.

    Ranks share the cases; a case is one rank's, so its figures don't depend on how many there are.

    Args:
        net: put into evaluation mode, on ``trainer``'s device.
        data: opened.
        trainer: whose device and precision are used.
        mirror_axes: of test-time mirroring, see `kitsseg.inference.slicewise.segment`.
        stage: what the figures are of, for the log.
        predictions: where the validation cases' label volumes are kept, ``case_00042.nii.gz``.

    Returns:
        For both parts of the split and each case: Dice of each region (None: neither there nor
        predicted) and the counts behind it.
    """
    device, autocast = trainer.strategy.root_device, trainer.strategy.precision_plugin.forward_context
    net = net.to(device).eval()
    number = {case: i for i, case in enumerate(data.store.ids)}
    figures: metrics.SplitScores = {}
    for part, ids in (("train", data.split.train), ("validation", data.split.validation)):
        title = f"{stage}, {part} cases"
        mine = ids[distributed.rank() :: distributed.count()]
        own: metrics.CaseScores = {}
        for case in tqdm(
            mine, desc=title, unit="case", leave=False, disable=distributed.rank() > 0 or None
        ):
            images, grid = data.store.images(number[case]), data.store.grid(number[case])
            label = segment(net, window, images, grid, data.neighbours, mirror_axes, device, autocast)
            source = data.cases[case]
            truth = read_mask(source.label, source.classes)
            own[case] = {
                **compare(label, truth.label),
                "voxel_ml": math.prod(truth.layout.spacing_mm) / 1000,
            }
            if part == "validation":
                header = read_header(source.label)
                save_volume(predictions / f"{case}.nii.gz", label, truth.layout, header)
        figures[part] = distributed.gather(own, ids)
        log.info(f"{title}: {metrics.format_means(figures[part], OFFICIAL)}")
    return figures


def compare(prediction: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """One case's figures from two label volumes ``[S, H, W]``."""
    counts = volume_counts(prediction, truth)
    scores = dice(counts)
    return {
        "dice": {r: None if math.isnan(s) else s for r, s in zip(REGIONS, scores.tolist(), strict=True)},
        "voxels": dict(zip(REGIONS, counts.tolist(), strict=True)),
    }
