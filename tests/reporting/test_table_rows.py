"""Grouping of runs into rows, and their scores."""

import numpy as np
import pytest

from kitsseg.reporting.table_rows import Row, group_runs
from tests.helpers.records import part, record, validated


def test_rows_differ_by_model_and_override() -> None:
    keep = {"overrides": ["model=unet", "data=x", "data.background_keep=0.1"]}
    labels = [r.label for r in group_runs([record(), record("attn_unet"), record(**keep)])]
    assert labels == ["unet", "attn_unet", "unet, data.background_keep=0.1"]
    assert len(group_runs([record(), record(seed=1, overrides=["data=x"])])) == 1  # the default model


def test_names_alone_label_rows_that_they_distinguish() -> None:
    options = {"wide": ("name=wide", "model.width=32"), "deep": ("model.depth=5", "name=deep")}
    runs = [validated("unet", [0.5], options=each) for each in options.values()]
    assert [row.label for row in group_runs(runs)] == ["unet, name=wide", "unet, name=deep"]
    assert [row.label for row in group_runs(runs[:1])] == ["unet"]
    same = validated("unet", [0.5], options=("model.width=64", "name=wide"))
    assert "unet, model.width=64, name=wide" in [row.label for row in group_runs([*runs, same])]


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_seeds_and_folds_share_a_row(plus: str) -> None:
    runs = [
        validated("unet", [0.5], first, seed, (f"{plus}seed={seed}", f"{plus}split.fold={first}"))
        for first in range(3)
        for seed in range(2)
    ]
    (row,) = group_runs(runs)
    assert row.label == "unet" and row.folds == 3 and len(row.runs) == 6
    other = validated("unet", [0.5], options=("split.folds=3",))
    assert len(group_runs([*runs, other])) == 2  # a different split is a different row


def test_moved_classes_share_a_row() -> None:
    targets = (
        "kitsseg.data.datamodule.SliceDataModule",
        "kitsseg.data.slices.datamodule.SliceDataModule",
    )
    moved = [
        validated("unet", [0.5], seed=seed, options=(f"data._target_={target}",))
        for seed, target in enumerate(targets)
    ]
    assert len(group_runs(moved)) == 1
    other = validated("unet", [0.5], options=("data._target_=other.SliceDataModule",))
    assert len(group_runs([*moved, other])) == 2


def test_overrides_without_effect_do_not_make_a_row() -> None:
    runs = [
        validated("unet", [0.5], seed=seed, options=(f"data.workers={seed}", f"paths.output=out{seed}"))
        for seed in range(2)
    ]
    assert len(group_runs(runs)) == 1


def test_two_runs_of_one_seed_are_refused() -> None:
    """Their mean would look like one run; so would evaluations of two folders ``predictions``."""
    runs = [validated("unet", [0.5]), validated("unet", [0.7])]
    with pytest.raises(ValueError, match="two runs of unet with seed 0 contain case case_00000; leave"):
        group_runs(runs)
    named = [validated("unet", [0.5], options=(f"name={name}",)) for name in "ab"]
    assert len(group_runs(named)) == 2


def test_scores_by_seed_and_case() -> None:
    row = Row("r", [validated("u", [0.1, None], seed=5), validated("u", [0.3, 0.5], first=1, seed=2)])
    scores = row.scores("validation", "tumour")
    assert row.seeds == [2, 5] and scores.cases == ["case_00000", "case_00001", "case_00002"]
    nan = float("nan")
    np.testing.assert_array_equal(scores.values, [[nan, 0.3, 0.5], [0.1, nan, nan]])
    assert scores.by_case() == {"case_00000": 0.1, "case_00001": 0.3, "case_00002": 0.5}
    chosen = scores.select(["case_00002", "case_00099"])
    np.testing.assert_array_equal(chosen.values, [[0.5, nan], [nan, nan]])
    assert chosen.by_case() == {"case_00002": 0.5} and chosen.cell().cases == 1


def test_training_scores_are_averaged_over_folds() -> None:
    runs = [record(before={"train": part([v], [v]), "validation": {}}) for v in (0.4, 0.6)]
    assert Row("r", runs).scores("train", "kidney").values == pytest.approx(0.5)


def test_stages_and_missing_scores() -> None:
    after = {"train": {}, "validation": part([0.9], [0.8])}
    row = Row("r", [record(after=after)])
    assert row.scores("validation", "tumour").values == 0.8
    assert row.scores("validation", "tumour", after=False).cases == ["case_00002"]
    assert row.scores("train", "tumour").values.shape == (1, 0)
    assert list(row.cases("validation")) == ["case_00000"]
