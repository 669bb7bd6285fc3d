"""All metrics of a case, from two label volumes or their files."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kitsseg.data.bounding_box import bounding_box
from kitsseg.data.io.nifti.read import check_same_grid, read_mask
from kitsseg.data.labels import REGIONS, TUMOUR
from kitsseg.data.parallel import over_cases
from kitsseg.evaluation.cases import Pair
from kitsseg.evaluation.lesions import Matching
from kitsseg.evaluation.metrics import CaseScores, dice, volume_counts
from kitsseg.evaluation.surface import surfaces

PostProcess = Callable[[NDArray[np.uint8], Sequence[float]], NDArray[np.uint8]]
# The metrics of a case and "", or None and the problem.
Scored = tuple[dict[str, Any] | None, str]

GRID_REMEDY = "write it on the grid of the case's own image"


def score_pairs(
    job: Callable[[Pair], Scored], pairs: Sequence[Pair], workers: int, strict: bool
) -> tuple[CaseScores, dict[str, str]]:
    """Return the metrics and the problems, each by case id; if ``strict``, raise the first problem.

    ``job`` is `score_pair` with its settings bound, and ``workers`` the number of processes.
    """
    scores: CaseScores = {}
    problems: dict[str, str] = {}
    results = over_cases(job, pairs, workers, "evaluating")
    for pair, (scored, problem) in zip(pairs, results, strict=True):
        if scored is not None:
            scores[pair.id] = scored
        elif strict:
            raise ValueError(f"{pair.id}: {problem}")
        else:
            problems[pair.id] = problem
    return scores, problems


def score_pair(
    pair: Pair,
    classes: Sequence[int],
    tolerance_mm: Mapping[str, float],
    matching: Matching,
    postprocess: PostProcess | None,
    absent_dice: float | None = None,
) -> Scored:
    """Return the metrics of a case (see `score`), or the problem as one line.

    ``classes[value]`` is the class id of a value stored in the files. With ``postprocess``, the metrics
    after post-processing are added as ``postprocessed``.
    """
    try:
        truth = read_mask(pair.truth, classes)
        spacing_mm = truth.layout.spacing_mm
        if pair.prediction is None:
            label = np.zeros_like(truth.label)
        else:
            prediction = read_mask(pair.prediction, classes, "write it again")
            check_same_grid(pair.prediction, prediction.layout, truth.layout, "truth", GRID_REMEDY)
            label = prediction.label
        score_label = partial(
            score, truth=truth.label, spacing_mm=spacing_mm, tolerance_mm=tolerance_mm,
            matching=matching, absent_dice=absent_dice,
        )  # fmt: skip
        scores = score_label(label)
        if postprocess is not None:
            scores["postprocessed"] = score_label(postprocess(label, spacing_mm))
    except ValueError as error:
        return None, str(error)
    except MemoryError:
        return None, f"{pair.prediction}: does not fit into memory; set workers=1"
    return scores, ""


def score(
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    spacing_mm: Sequence[float],
    tolerance_mm: Mapping[str, float],
    matching: Matching,
    absent_dice: float | None = None,
) -> dict[str, Any]:
    """Return the metrics of a case from class ids ``[S, H, W]`` on the same grid.

    ``spacing_mm`` is that of slices, rows and columns. ``tolerance_mm`` holds the tolerance of the
    surface Dice by region. ``absent_dice`` is the Dice and surface Dice of a region that is absent from
    both volumes; None if undefined.

    The result holds JSON values, None where a metric is undefined. Per region: ``dice`` and
    ``surface_dice`` (0 if the region is absent from one volume), ``hd95_mm`` (None if absent from
    either), ``voxels`` in both, in the prediction and in the truth, and ``volume_ml`` of the prediction,
    the truth and their difference. For tumours: ``lesions`` (`kitsseg.evaluation.lesions.Lesions`) and
    ``tumour_detected``, whether any lesion was found (None without lesions).
    """
    box = bounding_box(prediction | truth) or (slice(0, 0),) * 3
    # NIfTI stores Fortran order; the computations below are faster in C order.
    prediction, truth = np.ascontiguousarray(prediction[box]), np.ascontiguousarray(truth[box])
    counts = dict(zip(REGIONS, volume_counts(prediction, truth).tolist(), strict=True))
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    masks = {r: (_mask(prediction, classes), _mask(truth, classes)) for r, classes in REGIONS.items()}
    both = {region: surfaces(*pair, spacing_mm) for region, pair in masks.items()}
    lesions = matching(prediction == TUMOUR, truth == TUMOUR, voxel_ml)
    return {
        "dice": {r: _finite(float(dice(voxels)), absent_dice) for r, voxels in counts.items()},
        "voxels": counts,
        "voxel_ml": voxel_ml,
        "surface_dice": {r: _finite(s.dice(tolerance_mm[r]), absent_dice) for r, s in both.items()},
        "hd95_mm": {region: _finite(s.hausdorff_mm(95)) for region, s in both.items()},
        "volume_ml": {
            region: {"prediction": p * voxel_ml, "truth": g * voxel_ml, "error": (p - g) * voxel_ml}
            for region, (_, p, g) in counts.items()
        },
        "lesions": asdict(lesions),
        "tumour_detected": lesions.found > 0 if lesions.truth else None,
    }


def _finite(value: float, undefined: float | None = None) -> float | None:
    """Return ``value``, or ``undefined`` if it is NaN or infinite, which JSON cannot store."""
    return value if math.isfinite(value) else undefined


def _mask(label: NDArray[np.uint8], classes: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return where ``label`` is one of ``classes``."""
    mask: NDArray[np.bool_] = np.logical_or.reduce([label == class_id for class_id in classes])
    return mask
