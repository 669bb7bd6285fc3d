"""Validation scores by tumour size and stage."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kitsseg.data.labels import OFFICIAL
from kitsseg.evaluation import stats
from kitsseg.evaluation.stats import Interval
from kitsseg.reporting.formats import csv_text, exact, interval
from kitsseg.reporting.table_rows import Row

# Largest diameters that separate T1a, T1b, T2a and T2b (TNM of UICC and AJCC, 8th edition).
LIMITS_CM = (4, 7, 10)
# Volumes of spheres with these diameters: 34, 180 and 524 ml.
LIMITS_ML = tuple(math.pi / 6 * cm**3 for cm in LIMITS_CM)
STAGES = ("T1a", "T1b", "T2", "T3", "T4")
UNKNOWN = "not known"


@dataclass(frozen=True)
class Strata:
    """A grouping of cases by one property; ``members`` maps each non-empty stratum to case ids."""

    name: str
    members: dict[str, list[str]]


@dataclass(frozen=True)
class StratumScores:
    """A row's validation Dice in one stratum: number of cases and mean by region."""

    row: Row
    stratum: str
    cases: dict[str, int]
    means: dict[str, Interval]


def divide_cases(rows: Sequence[Row]) -> list[Strata]:
    """Return groupings of the validation cases by diameter (or else volume) and by stage.

    Diameter and stage come from the records' ``clinical`` fields. If no case has a diameter, the
    tumour volume of the label is used. A property that is unknown for all cases gives no grouping; a
    case without the property is in the stratum ``not known``.
    """
    entries: dict[str, dict[str, Any]] = {}
    clinical: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        for run in row.runs:
            for case, entry in run.final.get("validation", {}).items():
                if "voxel_ml" not in entries.get(case, {}):  # records of version 1 lack it
                    entries[case] = entry
            clinical = {**run.clinical, **clinical}
    cases = sorted(entries)
    size = _divide("Tumour diameter", cases, lambda case: size_stratum(clinical.get(case, {})))
    volume = _divide("Tumour volume", cases, lambda case: volume_stratum(entries[case]))
    stage = _divide("Pathological stage", cases, lambda case: stage_stratum(clinical.get(case, {})))
    return [strata for strata in (size if size is not None else volume, stage) if strata is not None]


def _divide(name: str, cases: Sequence[str], stratum: Callable[[str], tuple[int, str]]) -> Strata | None:
    """Return the non-empty strata in order; None if the property is unknown for all cases."""
    found = {case: stratum(case) for case in cases}
    if all(label == UNKNOWN for _, label in found.values()):
        return None
    order = sorted(set(found.values()))
    return Strata(name, {key[1]: [case for case in cases if found[case] == key] for key in order})


def size_stratum(clinical: Mapping[str, Any]) -> tuple[int, str]:
    """Return position and label by ``radiographic_size``, the largest diameter in cm."""
    return _between(_positive(clinical.get("radiographic_size")), LIMITS_CM, "cm")


def volume_stratum(entry: Mapping[str, Any]) -> tuple[int, str]:
    """Return position and label by the true tumour volume in a case's entry."""
    voxel_ml = _positive(entry.get("voxel_ml"))
    counts = entry.get("voxels", {}).get("tumour")
    if voxel_ml is None or counts is None:
        return _between(None, LIMITS_ML, "ml")
    _, _, truth = counts
    return _between(truth * voxel_ml, LIMITS_ML, "ml") if truth else (-1, "no tumour")


def stage_stratum(clinical: Mapping[str, Any]) -> tuple[int, str]:
    """Return position and label by ``pathology_t_stage``, such as ``1a``; 2a and 2b both give T2."""
    text = "T" + str(clinical.get("pathology_t_stage")).strip().removeprefix("T")
    for position, label in enumerate(STAGES):
        if text.lower().startswith(label.lower()):
            return position, label
    return len(STAGES), UNKNOWN


def score_strata(rows: Sequence[Row], strata: Strata) -> list[StratumScores]:
    """Return each row's final validation Dice in each stratum with its interval."""
    out = []
    for stratum, members in strata.members.items():
        for row in rows:
            scores = {region: row.scores("validation", region).select(members) for region in OFFICIAL}
            counts = {region: s.scored_cases for region, s in scores.items()}
            means = {region: stats.mean_interval(s.values) for region, s in scores.items()}
            out.append(StratumScores(row, stratum, counts, means))
    return out


def stratum_head(strata: Strata) -> list[str]:
    """Return the column heads of the table that `stratum_cells` fills."""
    return [strata.name, "Model", "Cases", *(f"Val {region} [95 %]" for region in OFFICIAL)]


def stratum_cells(scores: Sequence[StratumScores]) -> list[list[str]]:
    """Return the cells under `stratum_head`, one line per stratum and row."""
    return [
        [s.stratum, s.row.label, _case_counts(s), *(interval(m) for m in s.means.values())]
        for s in scores
    ]


def strata_csv(several: Sequence[tuple[Strata, Sequence[StratumScores]]]) -> str:
    """Return a CSV file with one line per stratum, row and region and full precision."""
    body = []
    for strata, scores in several:
        for s in scores:
            for region, mean in s.means.items():
                cells = [strata.name, s.stratum, s.row.label, region, str(s.cases[region])]
                body.append([*cells, exact(mean.mean), exact(mean.low), exact(mean.high)])
    return csv_text(["by", "stratum", "model", "region", "cases", "mean", "low", "high"], body)


def _case_counts(scores: StratumScores) -> str:
    return " / ".join(map(str, dict.fromkeys(scores.cases.values())))


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


def _between(value: float | None, limits: Sequence[float], unit: str) -> tuple[int, str]:
    if value is None:
        return len(limits) + 1, UNKNOWN
    position = sum(value > limit for limit in limits)
    low, high = (round(limits[i]) if 0 <= i < len(limits) else None for i in (position - 1, position))
    if low is None:
        return position, f"≤ {high} {unit}"
    return position, f"> {low} {unit}" if high is None else f"> {low}, ≤ {high} {unit}"
