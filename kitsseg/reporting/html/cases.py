"""What the plots show of rows: each case's Dice, what fine-tuning did to it, its tumour's volume."""

from collections.abc import Sequence

import numpy as np

from kitsseg.evaluation.stats import Interval, Paired, case_means, mean_interval, paired
from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.table_rows import Row


def by_case(row: Row, region: str, after: bool = True) -> dict[str, float]:
    """Validation Dice of each case that has one, the mean over seeds; of the last stage or the first."""
    scores = row.scores("validation", region, after)
    if not scores.cases:
        return {}
    means = case_means(scores.values)
    return {c: float(v) for c, v in zip(scores.cases, means, strict=True) if not np.isnan(v)}


def mean(row: Row, region: str) -> Interval:
    """Mean validation Dice over cases, with its interval."""
    return mean_interval(row.scores("validation", region).values)


def tuning(row: Row, region: str) -> Paired:
    """What fine-tuning did to a row: after less before, on the validation cases."""
    after, before = (row.scores("validation", region, stage) for stage in (True, False))
    return paired(after.values, before.of(after.cases).values)


def is_clear(each: Comparison) -> bool:
    """Whether the data tell two rows apart: interval and corrected test say so alike."""
    low, high = each.paired.difference.low, each.paired.difference.high
    return bool((low > 0 or high < 0) and each.p_holm < 0.05)


def tumour_ml(rows: Sequence[Row]) -> dict[str, float]:
    """True tumour volume of the validation cases for which a record gives it."""
    out = {}
    for row in rows:
        for case, figures in row.cases("validation").items():
            voxels = figures.get("voxels", {}).get("tumour")
            if "voxel_ml" in figures and voxels is not None:
                out[case] = voxels[2] * figures["voxel_ml"]
    return out
