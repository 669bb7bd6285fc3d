"""The figures of a trained network: every slice of every case, on its own grid, by region."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from kitsseg.counts import region_counts
from kitsseg.data.kits19 import Case
from kitsseg.data.nifti import read_label
from kitsseg.data.store import Store
from kitsseg.inference import segment
from kitsseg.labels import REGIONS
from kitsseg.metrics import dice
from kitsseg.results import CaseFigures
from kitsseg.window import Window


def evaluate(
    net: nn.Module,
    window: Window,
    store: Store,
    cases: Sequence[Case],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
    title: str,
) -> CaseFigures:
    """Segment ``cases`` and compare each with its own ``segmentation.nii.gz``.

    Args:
        net: moved to ``device`` and put into evaluation mode.
        store: holds the cases' prepared slices.
        autocast: makes the context of the precision to compute in.
        title: of the progress bar.

    Returns:
        Dice of each region (None: neither there nor predicted) and the counts behind it.
    """
    net = net.to(device).eval()
    number = {case: i for i, case in enumerate(store.ids)}
    figures: CaseFigures = {}
    for case in tqdm(cases, desc=title, unit="case", leave=False, disable=None):
        i = number[case.id]
        label = segment(net, window, store.images(i), store.grid(i), device, autocast)
        figures[case.id] = compare(label, read_label(case.label))
    return figures


def compare(prediction: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """One case's figures from two label volumes ``[S, H, W]``."""
    counts = np.zeros((len(REGIONS), 3), np.int64)
    for p, g in zip(prediction, truth, strict=True):  # a slice at a time, for the memory's sake
        if p.any() or g.any():
            counts += region_counts(torch.from_numpy(p)[None], torch.from_numpy(g)[None])[0].numpy()
    scores = dice(counts)
    return {
        "dice": {r: None if math.isnan(s) else s for r, s in zip(REGIONS, scores.tolist(), strict=True)},
        "voxels": dict(zip(REGIONS, counts.tolist(), strict=True)),
    }
