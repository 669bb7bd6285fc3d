"""All metrics of a case, from two label volumes or their files."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kitsseg.data.bounding_box import bounding_box
from kitsseg.data.io.nifti.read import check_same_grid, read_label_volume
from kitsseg.data.labels import KITS19, Labels
from kitsseg.evaluation.cases import Pair
from kitsseg.evaluation.lesions import Matching
from kitsseg.evaluation.metrics import dice, volume_counts
from kitsseg.evaluation.surface import surfaces

TOLERANCE_MM = 1.0  # tolerance of the surface Dice for regions without one
PostProcess = Callable[[NDArray[np.uint8], Sequence[float]], NDArray[np.uint8]]


def score_pair(
    pair: Pair,
    stored: Mapping[int, int],
    predicted: Mapping[int, int],
    tolerance_mm: Mapping[str, float],
    matching: Matching,
    postprocess: PostProcess | None,
    absent_dice: float | None = None,
    labels: Labels = KITS19,
) -> tuple[dict[str, Any] | None, str]:
    """Return the metrics of a case (see `score`) and "", or None and the problem as one line.

    ``stored`` maps each value in the label files to its class id, and ``predicted`` each value in
    predictions. With ``postprocess``, the metrics after post-processing are added as ``postprocessed``.
    """
    try:
        truth = read_label_volume(pair.truth, stored)
        spacing_mm = truth.layout.spacing_mm
        if pair.prediction is None:
            label = np.zeros_like(truth.label)
        else:
            prediction = read_label_volume(pair.prediction, predicted, "write it again")
            check_same_grid(pair.prediction, prediction.layout, truth.layout, "truth")
            label = prediction.label
        score_label = partial(
            score, truth=truth.label, spacing_mm=spacing_mm, tolerance_mm=tolerance_mm,
            matching=matching, absent_dice=absent_dice, labels=labels,
        )  # fmt: skip
        scores = score_label(label)
        if postprocess is not None:
            scores["postprocessed"] = score_label(postprocess(label, spacing_mm))
    except ValueError as error:
        return None, str(error)
    except MemoryError:
        return None, f"{pair.prediction or pair.truth}: does not fit into memory; set workers=1"
    return scores, ""


def score(
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    spacing_mm: Sequence[float],
    tolerance_mm: Mapping[str, float],
    matching: Matching,
    absent_dice: float | None = None,
    labels: Labels = KITS19,
) -> dict[str, Any]:
    """Return the metrics of a case from class ids ``[S, H, W]`` on the same grid.

    ``spacing_mm`` holds the spacing of slices, rows and columns, and ``tolerance_mm`` the tolerance of
    the surface Dice by region, by default `TOLERANCE_MM`. For a region that is absent from both volumes,
    Dice and surface Dice are ``absent_dice``; if it is absent from one, both are 0. In both cases,
    ``hd95_mm`` is None. Undefined metrics are None.

    ``voxels`` are the numbers of voxels in both volumes, in the prediction and in the truth. ``lesions``
    are counts of components of the target region, and ``detected`` is whether any of them was found.
    """
    box = bounding_box(prediction | truth) or (slice(0, 0),) * 3
    # NIfTI stores Fortran order; the computations below are faster in the C order of this array.
    prediction, truth = both = np.array([prediction[box], truth[box]])
    counts = dict(zip(labels.regions, volume_counts(prediction, truth, labels).tolist(), strict=True))
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    masks = {region: labels.mask(both, region) for region in labels.regions}
    surface = {region: surfaces(p, g, spacing_mm) for region, (p, g) in masks.items()}
    predicted_target, true_target = masks[labels.target]
    lesions = matching(predicted_target, true_target, voxel_ml)
    surface_dice = {r: s.dice(tolerance_mm.get(r, TOLERANCE_MM)) for r, s in surface.items()}
    return {
        "dice": {r: _finite(float(dice(voxels)), absent_dice) for r, voxels in counts.items()},
        "voxels": counts,
        "voxel_ml": voxel_ml,
        "surface_dice": {r: _finite(value, absent_dice) for r, value in surface_dice.items()},
        "hd95_mm": {region: _finite(s.hausdorff_mm(95)) for region, s in surface.items()},
        "volume_ml": {
            region: {"prediction": p * voxel_ml, "truth": g * voxel_ml, "error": (p - g) * voxel_ml}
            for region, (_, p, g) in counts.items()
        },
        "lesions": lesions._asdict(),
        "detected": lesions.found > 0 if lesions.truth else None,
    }


def _finite(value: float, undefined: float | None = None) -> float | None:
    """Return ``value``, or ``undefined`` if it is NaN or infinite, which JSON cannot store."""
    return value if math.isfinite(value) else undefined
