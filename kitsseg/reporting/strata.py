"""Validation scores by size of the target region, and by stage."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from kitsseg.reporting.formats import csv_text, interval, title, words
from kitsseg.reporting.table_rows import Cell, Number, Row

# Largest diameters that separate T1a, T1b, T2a and T2b (TNM of UICC and AJCC, 8th edition).
LIMITS_CM = (4, 7, 10)
# Volumes of spheres with these diameters: 34, 180 and 524 ml.
LIMITS_ML = tuple(math.pi / 6 * cm**3 for cm in LIMITS_CM)
STAGES = ("T1a", "T1b", "T2", "T3", "T4")
UNKNOWN = "not known"


@dataclass(frozen=True)
class Strata:
    """Case ids by non-empty stratum of one property, and each row's Dice in a stratum by region."""

    name: str
    members: dict[str, list[str]]
    scores: list[tuple[str, Row, dict[str, Cell]]]


def divide_cases(rows: Sequence[Row]) -> list[Strata]:
    """Return groupings of the validation cases by size and by stage.

    The size is the tumour's diameter in the clinical data, or else the volume of the target region.
    A property that is unknown for all cases gives no grouping; a case without the property is in the
    stratum ``not known``.
    """
    if not rows:
        return []
    target = rows[0].labels.target
    entries: dict[str, dict[str, Any]] = {}
    clinical: dict[str, dict[str, Any]] = {}
    for run in (run for row in rows for run in row.runs):
        for case, entry in run.final.get("validation", {}).items():
            if "voxel_ml" not in entries.get(case, {}):  # records of version 1 lack it
                entries[case] = entry
        clinical = run.clinical | clinical
    known = {case: clinical.get(case, {}) for case in entries}
    size = _divide("Tumour diameter", rows, {case: size_stratum(c) for case, c in known.items()})
    if not size:
        volumes = {case: volume_stratum(entry, target) for case, entry in entries.items()}
        size = _divide(f"{title(target)} volume", rows, volumes)
    return size + _divide("Pathological stage", rows, {c: stage_stratum(v) for c, v in known.items()})


def _divide(name: str, rows: Sequence[Row], found: Mapping[str, tuple[int, str]]) -> list[Strata]:
    """Group cases by stratum, given as position and label; return nothing if all are unknown."""
    order = sorted(set(found.values()))
    members = {key[1]: sorted(case for case in found if found[case] == key) for key in order}
    if set(members) <= {UNKNOWN}:
        return []
    regions = rows[0].labels.table_regions
    scores = [
        (stratum, row, {r: row.scores("validation", r).select(cases).cell() for r in regions})
        for stratum, cases in members.items()
        for row in rows
    ]
    return [Strata(name, members, scores)]


def size_stratum(clinical: Mapping[str, Any]) -> tuple[int, str]:
    """Return position and label by ``radiographic_size``, the largest diameter in cm."""
    size: Any = clinical.get("radiographic_size")
    is_known = type(size) in (int, float) and 0 < size < math.inf
    return _between(size if is_known else None, LIMITS_CM, "cm")


def volume_stratum(entry: Mapping[str, Any], region: str) -> tuple[int, str]:
    """Return position and label by the true volume of a region in a case's entry."""
    ml = true_ml(entry, region)
    return (-1, f"no {words(region)}") if ml == 0 else _between(ml, LIMITS_ML, "ml")


def true_ml(entry: Mapping[str, Any], region: str) -> float | None:
    """Return the true volume of a region in a case's entry, or None if it does not state it."""
    voxels = entry.get("voxels", {}).get(region)
    return None if voxels is None or "voxel_ml" not in entry else float(voxels[2] * entry["voxel_ml"])


def stage_stratum(clinical: Mapping[str, Any]) -> tuple[int, str]:
    """Return position and label by ``pathology_t_stage``, such as ``1a``; 2a and 2b both give T2."""
    text = "t" + str(clinical.get("pathology_t_stage")).strip().lower().removeprefix("t")
    found = ((i, stage) for i, stage in enumerate(STAGES) if text.startswith(stage.lower()))
    return next(found, (len(STAGES), UNKNOWN))


def _between(value: float | None, limits: Sequence[float], unit: str) -> tuple[int, str]:
    """Return position and label of the range that contains ``value``."""
    if value is None:
        return len(limits) + 1, UNKNOWN
    above = [f"> {limit:.0f}" for limit in limits if value > limit]
    below = [f"≤ {limit:.0f}" for limit in limits if value <= limit]
    return len(above), f"{', '.join([*above[-1:], *below[:1]])} {unit}"


def stratum_table(strata: Strata) -> tuple[list[str], list[list[str]]]:
    """Return the column heads, and the cells with one line per stratum and row."""
    lines = []
    for stratum, row, cells in strata.scores:
        cases = " / ".join(dict.fromkeys(str(cell.cases) for cell in cells.values()))
        name = ("stratum", strata.name, stratum, row.name)
        own = [case for case in strata.members[stratum] if case in row.cases("validation")]
        line = [Number(cases, [row], own, *name, "cases")]
        line += [Number(interval(c.mean), [row], c.ids, *name, region) for region, c in cells.items()]
        lines.append([stratum, row.label, *line])
    heads = (f"Val {words(region)} [95 %]" for region in strata.scores[0][2])
    return [strata.name, "Model", "Cases", *heads], lines


def strata_csv(several: Sequence[Strata]) -> str:
    """Return a CSV file with one line per stratum, row and region and full precision."""
    body = [
        [strata.name, stratum, row.label, region, c.cases, *astuple(c.mean)]
        for strata in several
        for stratum, row, cells in strata.scores
        for region, c in cells.items()
    ]
    return csv_text(["by", "stratum", "model", "region", "cases", "mean", "low", "high"], body)
