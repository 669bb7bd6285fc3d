"""All figures of one case from two label volumes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from kitsseg.data.bounding_box import bounding_box
from kitsseg.data.labels import REGIONS, TUMOUR
from kitsseg.evaluation.confusion import volume_counts
from kitsseg.evaluation.lesions import Matching
from kitsseg.evaluation.metrics import dice
from kitsseg.evaluation.surface import surfaces


def score(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing_mm: Sequence[float],
    tolerance_mm: Mapping[str, float],
    matching: Matching,
) -> dict[str, Any]:
    """One case's figures.

    Args:
        prediction, truth: ``[S, H, W]`` uint8 class ids on one grid.
        spacing_mm: of slices, rows and columns.
        tolerance_mm: of the surface Dice, by region.
        matching: of lesions.

    Returns:
        Plain values; None stands for a figure that doesn't exist. By region: Dice and surface Dice
        (None: neither there nor predicted; 0: only one of them), ``hd95_mm`` (None unless both), the
        voxels in both, in the prediction and in the truth, and ``volume_ml`` of the prediction, of
        the truth and their difference. Of the tumour: `kitsseg.evaluation.lesions.Lesions` and whether any of
        them was found (None: there are none).
    """
    box = bounding_box(prediction | truth)
    if box is None:
        box = (slice(0, 0),) * 3
    # Only now in the order that the rest is fast in: NIfTI's is the other one.
    prediction, truth = np.ascontiguousarray(prediction[box]), np.ascontiguousarray(truth[box])
    counts = volume_counts(prediction, truth)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    surface: dict[str, float | None] = {}
    hd95_mm: dict[str, float | None] = {}
    for region, classes in REGIONS.items():
        both = surfaces(_mask(prediction, classes), _mask(truth, classes), spacing_mm)
        surface[region] = figure(both.dice(tolerance_mm[region]))
        hd95_mm[region] = figure(both.hausdorff_mm(95))
    lesions = matching(prediction == TUMOUR, truth == TUMOUR, voxel_ml)
    return {
        "dice": {r: figure(s) for r, s in zip(REGIONS, dice(counts).tolist(), strict=True)},
        "voxels": dict(zip(REGIONS, counts.tolist(), strict=True)),
        "voxel_ml": voxel_ml,
        "surface_dice": surface,
        "hd95_mm": hd95_mm,
        "volume_ml": {
            region: {"prediction": p * voxel_ml, "truth": g * voxel_ml, "error": (p - g) * voxel_ml}
            for region, (_, p, g) in zip(REGIONS, counts.tolist(), strict=True)
        },
        "lesions": asdict(lesions),
        "tumour_detected": lesions.found > 0 if lesions.truth else None,
    }


def figure(value: float) -> float | None:
    """A value that JSON can hold: None for NaN and infinity."""
    return value if math.isfinite(value) else None


def _mask(label: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    """Where ``label`` is one of ``classes``, bool."""
    mask = label == classes[0]
    for each in classes[1:]:
        mask |= label == each
    return mask
