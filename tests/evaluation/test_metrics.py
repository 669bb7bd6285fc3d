"""Dice by region: by hand, against the official formula and MONAI, and however it is batched."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import DiceMetric

from kitsseg.data.labels import KITS19, Labels
from kitsseg.evaluation.lesions import Matching
from kitsseg.evaluation.metrics import case_mean, dice, mean_over_cases, volume_counts
from kitsseg.evaluation.scores import score
from kitsseg.training.final_evaluation import score_case
from kitsseg.training.pixel_counts import region_counts


def volumes(seed: int, shape: tuple[int, int, int] = (5, 6, 7)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, shape, np.uint8), rng.integers(0, 3, shape, np.uint8)


def official(gt: np.ndarray, predictions: np.ndarray) -> tuple[float, float]:
    """The formula of the official script's ``evaluate``: Dice of the masks > 0 and > 1."""
    out = []
    for threshold in (0, 1):
        a, b = gt > threshold, predictions > threshold
        out.append(2 * np.logical_and(a, b).sum() / (a.sum() + b.sum()))
    return out[0], out[1]


def test_by_hand() -> None:
    truth = np.array([[[1, 1, 2, 0]]], np.uint8)
    prediction = np.array([[[1, 2, 2, 1]]], np.uint8)
    figures = score_case(prediction, truth)
    # kidney (> 0): 3 shared of 4 and 3; tumour: 1 shared of 2 and 1; own label: 1 of 2 and 2.
    assert figures["voxels"] == {
        "kidney": [3, 4, 3],
        "tumour": [1, 2, 1],
        "kidney_label": [1, 2, 2],
    }
    assert figures["dice"] == pytest.approx({"kidney": 6 / 7, "tumour": 2 / 3, "kidney_label": 0.5})


def test_equals_the_official_formula_and_monai() -> None:
    prediction, truth = volumes(1)
    figures = score_case(prediction, truth)["dice"]
    assert (figures["kidney"], figures["tumour"]) == pytest.approx(official(truth, prediction))
    masks = [
        torch.from_numpy(
            np.stack([np.isin(v, classes) for classes in map(KITS19.ids, KITS19.regions)])[None]
        )
        for v in (prediction, truth)
    ]
    theirs = DiceMetric(reduction="none")(*(m.float() for m in masks))[0]
    assert list(figures.values()) == pytest.approx(theirs.tolist())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_counts_add_up_however_slices_are_batched(seed: int, step: int) -> None:
    p, g = (torch.from_numpy(v) for v in volumes(seed))
    whole = region_counts(p, g).sum(0)
    parts = [region_counts(p[i : i + step], g[i : i + step]).sum(0) for i in range(0, 5, step)]
    assert torch.equal(torch.stack(parts).sum(0), whole)


def test_empty_regions() -> None:
    nothing = np.zeros((1, 2, 2), np.uint8)
    tumour = nothing.copy()
    tumour[0, 0, 0] = 2
    assert score_case(nothing, nothing)["dice"] == dict.fromkeys(KITS19.regions)  # undefined: None
    assert score_case(tumour, nothing)["dice"]["tumour"] == 0  # invented
    assert score_case(nothing, tumour)["dice"]["tumour"] == 0  # missed
    figures = {"a": score_case(nothing, nothing), "b": score_case(tumour, tumour)}
    assert case_mean(figures, "tumour") == 1  # the undefined one is left out


def test_means_leave_out_what_does_not_exist() -> None:
    assert mean_over_cases(np.array([0.5, math.nan, 1.0])) == 0.75
    assert math.isnan(mean_over_cases(np.array([math.nan])))
    assert np.isnan(dice(np.array([0, 0, 0])))


def test_regions_of_any_labels() -> None:
    names = [f"class{i}" for i in range(64)]
    labels = Labels(names, {"low": names[1:32], "high": names[32:]}, "high")
    rng = np.random.default_rng(0)
    prediction, truth = rng.integers(0, 64, (2, 3, 40, 40)).astype(np.uint8)
    counts = volume_counts(prediction, truth, labels)
    for row, low, high in ((0, 1, 31), (1, 32, 63)):
        p, g = ((v >= low) & (v <= high) for v in (prediction, truth))
        assert counts[row].tolist() == [(p & g).sum(), p.sum(), g.sum()]
    theirs = region_counts(torch.from_numpy(prediction), torch.from_numpy(truth), labels)
    assert np.array_equal(theirs.sum(0).numpy(), counts)
    scores = score(prediction, truth, (1, 1, 1), {}, Matching(), labels=labels)
    assert list(scores["dice"]) == list(scores["hd95_mm"]) == ["low", "high"]
    assert scores["lesions"]["truth"] == 1 and scores["detected"] is True
