"""Validation Dice of table rows: per case, mean, and change by fine-tuning; tumour volumes."""

from collections.abc import Sequence

import numpy as np

from kitsseg.evaluation.stats import Interval, Paired, case_means, mean_interval, paired
from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.table_rows import Row


def dice_by_case(row: Row, region: str, after: bool = True) -> dict[str, float]:
    """Return each case's defined validation Dice, averaged over seeds, ``after`` all stages or one."""
    scores = row.scores("validation", region, after)
    if not scores.cases:
        return {}
    means = case_means(scores.values)
    return {c: float(v) for c, v in zip(scores.cases, means, strict=True) if not np.isnan(v)}


def mean_dice(row: Row, region: str) -> Interval:
    """Return the mean validation Dice over cases with its interval."""
    return mean_interval(row.scores("validation", region).values)


def fine_tuning_change(row: Row, region: str) -> Paired:
    """Return the paired difference of validation Dice, after minus before fine-tuning."""
    after, before = (row.scores("validation", region, stage) for stage in (True, False))
    return paired(after.values, before.select(after.cases).values)


def is_significant(comparison: Comparison) -> bool:
    """Return whether the interval excludes 0 and the corrected p value is below 0.05."""
    difference = comparison.paired.difference
    return bool((difference.low > 0 or difference.high < 0) and comparison.p_holm < 0.05)


def tumour_volumes_ml(rows: Sequence[Row]) -> dict[str, float]:
    """Return the true tumour volume of each validation case for which a record states it."""
    out = {}
    for row in rows:
        for case, entry in row.cases("validation").items():
            voxels = entry.get("voxels", {}).get("tumour")
            if "voxel_ml" in entry and voxels is not None:
                out[case] = voxels[2] * entry["voxel_ml"]
    return out
