"""Scores by tumour size and stage."""

import math
from typing import Any

import pytest

from kitsseg.reporting import strata
from kitsseg.reporting.table_rows import Row, group_runs
from tests.helpers.records import part, record, validated


def with_clinical(dice: list[float], clinical: dict[str, dict[str, Any]]) -> Row:
    metrics = {"train": {}, "validation": part(dice, dice)}
    return Row("r", [record(before=metrics, clinical=clinical)])


@pytest.mark.parametrize(
    ("size", "label"),
    [
        (0.5, "≤ 4 cm"), (4, "≤ 4 cm"), (4.0001, "> 4, ≤ 7 cm"), (7.0, "> 4, ≤ 7 cm"),
        (7.1, "> 7, ≤ 10 cm"), (10, "> 7, ≤ 10 cm"), (10.1, "> 10 cm"), (None, "not known"),
        ("4", "not known"), (True, "not known"), (0, "not known"), (math.nan, "not known"),
    ],
)  # fmt: skip
def test_size_by_tnm_limits(size: object, label: str) -> None:
    assert strata.size_stratum({"radiographic_size": size})[1] == label


@pytest.mark.parametrize(
    ("stage", "label"),
    [
        ("1a", "T1a"), ("1b", "T1b"), ("2a", "T2"), ("2b", "T2"), ("2", "T2"), ("3", "T3"),
        ("3a", "T3"), ("4", "T4"), ("T1A", "T1a"), ("X", "not known"), ("0", "not known"),
        (None, "not known"), (3, "T3"),
    ],
)  # fmt: skip
def test_stage(stage: object, label: str) -> None:
    assert strata.stage_stratum({"pathology_t_stage": stage})[1] == label


def test_volume_limits_are_spheres_of_the_diameters() -> None:
    def entry(ml: float) -> dict[str, Any]:
        return {"voxels": {"tumour": [0, 0, 1]}, "voxel_ml": ml}

    # 4/3 pi r^3 with r = 2, 3.5 and 5 cm.
    for radius, below, above in (
        (2, "≤ 34 ml", "> 34, ≤ 180 ml"),
        (3.5, "> 34, ≤ 180 ml", "> 180, ≤ 524 ml"),
        (5, "> 180, ≤ 524 ml", "> 524 ml"),
    ):
        ml = 4 / 3 * math.pi * radius**3
        labels = [strata.volume_stratum(entry(ml * f), "tumour")[1] for f in (0.999, 1.001)]
        assert labels == [below, above]
    empty = {"voxels": {"tumour": [0, 5, 0]}, "voxel_ml": 1.0}
    assert strata.volume_stratum(empty, "tumour")[1] == "no tumour"
    for incomplete in ({}, {"voxels": {}}, {"voxels": {"tumour": [0, 0, 9]}}, {"voxel_ml": 0.1}):
        assert strata.volume_stratum(incomplete, "tumour")[1] == "not known"


def test_strata_are_ordered_with_unknown_last() -> None:
    clinical = {
        "case_00000": {"radiographic_size": 12.0, "pathology_t_stage": "3"},
        "case_00001": {"radiographic_size": 2.4, "pathology_t_stage": "1a"},
        "case_00002": {"radiographic_size": 3.0, "pathology_t_stage": None},
        "case_00099": {"radiographic_size": 5.0},
    }
    size, stage = strata.divide_cases([with_clinical([0.2, 0.4, 0.8, 0.6], clinical)])
    assert (size.name, stage.name) == ("Tumour diameter", "Pathological stage")
    assert list(size.members.items()) == [
        ("≤ 4 cm", ["case_00001", "case_00002"]),
        ("> 10 cm", ["case_00000"]),
        ("not known", ["case_00003"]),
    ]
    assert list(stage.members) == ["T1a", "T3", "not known"]


def test_one_line_per_stratum_and_row() -> None:
    clinical = {f"case_{i:05d}": {"radiographic_size": s} for i, s in enumerate((2, 3, 8))}
    table = [with_clinical([0.2, 0.4, 0.8], clinical), Row("s", [validated("s", [0.5], first=2)])]
    (size,) = strata.divide_cases(table)
    head, cells = strata.stratum_table(size)
    assert cells == [
        ["≤ 4 cm", "r", "2", "0.300 [0.200, 0.400]", "0.300 [0.200, 0.400]"],
        ["≤ 4 cm", "s", "0", "–", "–"],
        ["> 7, ≤ 10 cm", "r", "1", "0.800", "0.800"],
        ["> 7, ≤ 10 cm", "s", "1", "0.500", "0.500"],
    ]
    assert head[0] == "Tumour diameter"
    assert all(int(line[2]) == len(line[2].cases) for line in cells)  # the sources of the number


def test_volumes_come_from_any_record_that_has_them() -> None:
    old, new = validated("a", [0.5]), validated("a", [0.7], seed=1)
    new.before["validation"]["case_00000"].update(voxels={"tumour": [0, 0, 1]}, voxel_ml=50.0)
    for runs in ([old, new], [new, old]):
        (volume,) = strata.divide_cases(group_runs(runs))
        assert volume.members == {"> 34, ≤ 180 ml": ["case_00000"]}


def test_no_strata_without_sizes_and_stages() -> None:
    assert strata.divide_cases(group_runs([validated("a", [0.5])])) == []
    assert strata.divide_cases([]) == []
