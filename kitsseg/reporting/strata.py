"""Validation figures by tumour size and stage."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kitsseg.data.labels import OFFICIAL
from kitsseg.evaluation import stats
from kitsseg.evaluation.stats import Interval
from kitsseg.reporting import formats
from kitsseg.reporting.formats import exact, interval
from kitsseg.reporting.table_rows import Row

# Between T1a, T1b, T2a and T2b of renal tumours (TNM of UICC and AJCC, 8th edition): largest diameter.
LIMITS_CM = (4, 7, 10)
# Volumes of spheres with these diameters: 34, 180 and 524 ml.
LIMITS_ML = tuple(math.pi / 6 * cm**3 for cm in LIMITS_CM)
STAGES = ("T1a", "T1b", "T2", "T3", "T4")
UNKNOWN = "not known"

Clinical = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Strata:
    """Cases divided by one property: ``members`` are case ids by stratum, in order, none empty."""

    name: str
    members: dict[str, list[str]]


@dataclass(frozen=True)
class StratumFigures:
    """One row's validation figures in one stratum: mean over its cases by region, and how many."""

    row: Row
    stratum: str
    cases: dict[str, int]
    means: dict[str, Interval]


def strata(table: Sequence[Row]) -> list[Strata]:
    """How the validation cases of ``table`` divide: by diameter and stage, or else by volume.

    Diameter and stage are the runs' ``clinical``: ``{case: {field: value}}``, as
    `kitsseg.data.sources.clinical.read_clinical` gives it. Where no case has a diameter, the volume of the
    tumour in the label (voxels times ``voxel_ml``) stands in for it. A property that no case has divides
    nothing; a case that lacks it is in the stratum ``not known``.
    """
    figures: dict[str, dict[str, Any]] = {}
    clinical: dict[str, Mapping[str, Any]] = {}
    for row in table:
        for run in row.runs:
            for case, entry in run.final.get("validation", {}).items():
                if "voxel_ml" not in figures.get(case, {}):  # an older record may lack it
                    figures[case] = entry
            clinical = {**getattr(run, "clinical", {}), **clinical}
    cases = sorted(figures)
    size = divide("Tumour diameter", cases, lambda case: size_stratum(clinical.get(case, {})))
    volume = divide("Tumour volume", cases, lambda case: volume_stratum(figures[case]))
    stage = divide("Pathological stage", cases, lambda case: stage_stratum(clinical.get(case, {})))
    return [found for found in (size if size is not None else volume, stage) if found is not None]


def divide(name: str, cases: Sequence[str], stratum: Callable[[str], tuple[int, str]]) -> Strata | None:
    """The strata that hold cases, in order; None if nothing is known of any case."""
    found = {case: stratum(case) for case in cases}
    if all(label == UNKNOWN for _, label in found.values()):
        return None
    order = sorted(set(found.values()))
    return Strata(name, {key[1]: [case for case in cases if found[case] == key] for key in order})


def size_stratum(clinical: Mapping[str, Any]) -> tuple[int, str]:
    """Place and label by ``radiographic_size``, the largest diameter in cm."""
    return _between(_number(clinical.get("radiographic_size")), LIMITS_CM, "cm")


def volume_stratum(entry: Mapping[str, Any]) -> tuple[int, str]:
    """Place and label by the tumour's volume in the label, from a case's figures."""
    voxel_ml = _number(entry.get("voxel_ml"))
    counts = entry.get("voxels", {}).get("tumour")
    if voxel_ml is None or counts is None:
        return _between(None, LIMITS_ML, "ml")
    _, _, truth = counts
    return _between(truth * voxel_ml, LIMITS_ML, "ml") if truth else (-1, "no tumour")


def stage_stratum(clinical: Mapping[str, Any]) -> tuple[int, str]:
    """Place and label by ``pathology_t_stage``, such as ``1a``; 2a and 2b are one, and so on."""
    text = "T" + str(clinical.get("pathology_t_stage")).strip().removeprefix("T")
    for place, label in enumerate(STAGES):
        if text.lower().startswith(label.lower()):
            return place, label
    return len(STAGES), UNKNOWN


def figures(
    table: Sequence[Row], divided: Strata, regions: Sequence[str] = OFFICIAL
) -> list[StratumFigures]:
    """Each row's final validation Dice in each stratum, with interval (see `kitsseg.evaluation.stats`)."""
    out = []
    for stratum, members in divided.members.items():
        for row in table:
            scores = {region: row.scores("validation", region).of(members) for region in regions}
            counts = {region: each.known for region, each in scores.items()}
            means = {region: stats.mean_interval(each.values) for region, each in scores.items()}
            out.append(StratumFigures(row, stratum, counts, means))
    return out


def head(divided: Strata, regions: Sequence[str] = OFFICIAL) -> list[str]:
    """Of the table that `lines` fills."""
    return [divided.name, "Model", "Cases", *(f"Val {region} [95 %]" for region in regions)]


def lines(found: Sequence[StratumFigures]) -> list[list[str]]:
    """The cells under `head`."""
    return [
        [each.stratum, each.row.label, _cases(each), *(interval(m) for m in each.means.values())]
        for each in found
    ]


def comma_separated(several: Sequence[tuple[Strata, Sequence[StratumFigures]]]) -> str:
    """A line a stratum, row and region; full precision."""
    body = []
    for divided, found in several:
        for each in found:
            for region, mean in each.means.items():
                cells = [divided.name, each.stratum, each.row.label, region, str(each.cases[region])]
                body.append([*cells, exact(mean.mean), exact(mean.low), exact(mean.high)])
    names = ["by", "stratum", "model", "region", "cases", "mean", "low", "high"]
    return formats.comma_separated(names, body)


def _cases(each: StratumFigures) -> str:
    return " / ".join(map(str, dict.fromkeys(each.cases.values())))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


def _between(value: float | None, limits: Sequence[float], unit: str) -> tuple[int, str]:
    if value is None:
        return len(limits) + 1, UNKNOWN
    place = sum(value > limit for limit in limits)
    low, high = (round(limits[i]) if 0 <= i < len(limits) else None for i in (place - 1, place))
    if low is None:
        return place, f"≤ {high} {unit}"
    return place, f"> {low} {unit}" if high is None else f"> {low}, ≤ {high} {unit}"
