"""Every rule on volumes made by hand."""

import numpy as np
import pytest

from kitsseg.data.labels import KITS19, Labels
from kitsseg.evaluation.postprocess import PostProcessing, fill_holes
from tests.data.test_labels import KITS23

SPACING_MM = (5.0, 1.0, 2.0)  # a voxel is 0.01 ml
ALL = {"kidney": {"largest": 2, "min_ml": 0.05}, "tumour": {"within_mm": 2, "min_ml": 0.02}}


def clean(label: np.ndarray, labels: Labels = KITS19, **regions: dict) -> np.ndarray:
    return PostProcessing(regions)(label, SPACING_MM, labels)


def volume() -> np.ndarray:
    """Two kidneys of 60 and 48 voxels, the second half tumour, and a third component of 2."""
    label = np.zeros((8, 12, 20), np.uint8)
    label[1:5, 1:6, 1:4] = 1
    label[1:5, 1:7, 10:12] = 1
    label[3:5, 1:7, 10:12] = 2
    label[7, 11, 18:20] = 1
    return label


@pytest.mark.parametrize(
    ("largest", "min_voxels", "kept"),
    [
        (None, 0, {60, 48, 2}),
        (3, 0, {60, 48, 2}),
        (2, 0, {60, 48}),
        (1, 0, {60}),
        (None, 2, {60, 48, 2}),
        (None, 3, {60, 48}),
        (2, 49, {60}),
        (2.0, 0, {60, 48}),
        (None, 61, set()),
    ],
)
def test_kidneys(largest: float | None, min_voxels: float, kept: set[int]) -> None:
    label = volume()
    out = clean(label, kidney={"largest": largest, "min_ml": min_voxels / 100})
    parts = {60: (..., slice(0, 9)), 48: (..., slice(9, 17)), 2: (..., slice(17, 20))}
    for size, part in parts.items():
        assert np.array_equal(out[part], label[part] if size in kept else label[part] * 0)


def test_tumours_away_from_any_kidney() -> None:
    """A tumour 3 rows (3 mm) from a kidney, one 2 slices (10 mm) from it, one that touches a corner."""
    label = np.zeros((8, 12, 12), np.uint8)
    label[4, 4, 4] = 1
    label[4, 7, 4] = label[6, 4, 4] = label[3, 3, 3] = 2
    beside, below, corner = (4, 7, 4), (6, 4, 4), (3, 3, 3)
    for within_mm, kept in (
        (0, [corner]),
        (2.9, [corner]),
        (3, [corner, beside]),
        (9.9, [corner, beside]),
    ):
        out = clean(label, tumour={"within_mm": within_mm})
        assert [where for where in (corner, beside, below) if out[where] == 2] == kept
        assert out[4, 4, 4] == 1
    assert np.array_equal(clean(label, tumour={"within_mm": 10}), label)


def test_without_a_kidney_every_tumour_goes() -> None:
    label = np.full((2, 2, 2), 2, np.uint8)
    assert not clean(label, tumour={"within_mm": 100}).any()


def test_small_tumours_become_what_they_lie_in() -> None:
    label = np.zeros((5, 9, 9), np.uint8)
    label[1:4, 1:5, 1:5] = 1
    label[2, 2, 2:4] = 2  # two voxels in the kidney
    label[2, 8, 8] = 2  # one alone
    out = clean(label, tumour={"min_ml": 0.02})
    assert (out[2, 2, 2], out[2, 8, 8]) == (2, 0)
    out = clean(label, tumour={"min_ml": 0.03})
    assert (out[2, 2, 2], out[2, 2, 3], out[2, 8, 8]) == (1, 1, 0)
    assert np.array_equal(out[1:4, 1:5, 1:5], np.ones((3, 4, 4)))


def test_holes() -> None:
    label = np.zeros((7, 9, 16), np.uint8)
    label[1:6, 1:8, 1:8] = 1
    label[1:6, 1:8, 8:15] = 2
    label[3, 3, 3:5] = 0  # two voxels in the kidney
    label[3, 3, 11] = 0  # one in the tumour
    label[1:4, 6, 3] = 0  # three that open to the outside
    out = fill_holes(label, 1)
    assert (out[3, 3, 3], out[3, 3, 11], out[2, 6, 3]) == (0, 2, 0)
    out = fill_holes(label, 100)
    assert (out[3, 3, 3], out[3, 3, 4], out[3, 3, 11], out[2, 6, 3], out[0, 0, 0]) == (1, 1, 2, 0, 0)
    assert (out != label).sum() == 3


def test_a_hole_that_leaks_through_an_edge_is_still_closed() -> None:
    label = np.ones((3, 4, 4), np.uint8)
    label[1, 1, 1] = label[1, 0, 0] = 0
    assert fill_holes(label, 1)[1, 1, 1] == 1


def test_all_rules_in_ml_and_the_input_stays() -> None:
    label = volume()
    label[2, 3, 2] = 0  # a hole of 0.01 ml
    label[2, 9, 11] = 2  # 3 rows below the second kidney
    before = label.copy()
    for order in "CF":
        given = label.copy(order=order)
        out = PostProcessing(ALL, 0.01)(given, SPACING_MM)
        assert np.array_equal(given, before) and out.dtype == np.uint8
        expected = volume()
        expected[7] = 0
        assert np.array_equal(out, expected)


def test_nothing_asked_or_nothing_there_changes_nothing() -> None:
    assert np.array_equal(PostProcessing()(volume(), SPACING_MM), volume())
    nothing = np.zeros((3, 4, 5), np.uint8)
    assert np.array_equal(PostProcessing(ALL, 1)(nothing, SPACING_MM), nothing)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"largest": 0}, "largest=0: must be an integer of at least 1, or null for all"),
        ({"largest": 1.5}, "largest=1.5: must be an integer"),
        ({"min_ml": -1}, "min_ml=-1: must be at least 0 and finite"),
        ({"min_ml": None}, "min_ml=None: must be at least 0 and finite"),
        ({"within_mm": float("nan")}, "within_mm=nan: must be at least 0"),
        ({"larges": 2}, r"larges=2: no such rule; did you mean largest\?"),
        ({"size": 2}, r"size=2: no such rule \(largest, min_ml, within_mm\)"),
    ],
)
def test_mistakes_are_one_line(rules: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^regions.kidney.{message}"):
        PostProcessing({"kidney": rules})
    with pytest.raises(ValueError, match="^max_hole_ml=inf: must be at least 0"):
        PostProcessing({}, float("inf"))


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ({"tumor": {}}, r"tumor: the labels have no such region; did you mean .*regions.tumour\?"),
        (
            {"liver": {}},
            r"liver: the labels have no such region \(kidney_and_masses, masses, tumour\)",
        ),
        (
            {"kidney_and_masses": {"within_mm": 1}},
            "kidney_and_masses.within_mm: the region contains all classes; set it to null",
        ),
    ],
)
def test_rules_that_do_not_fit_the_labels_are_refused(regions: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^postprocess.regions.{message}"):
        PostProcessing(regions).check(Labels(**KITS23))
    PostProcessing({"kidney_and_masses": {}, "masses": {"within_mm": 1}}).check(Labels(**KITS23))


def test_rules_follow_the_labels() -> None:
    label = np.zeros((1, 8, 16), np.uint8)
    label[0, 2:6, 1:5] = 1
    label[0, 3:5, 5] = 2  # a small tumour between kidney and cyst
    label[0, 2:6, 6:9] = 3
    label[0, 3, 7] = 0  # a hole in the cyst
    label[0, 1, 14] = 2  # far from everything
    labels = Labels(**KITS23)
    rules = PostProcessing({"tumour": {"within_mm": 2, "min_ml": 0.003}}, max_hole_ml=0.001)
    out = rules(np.repeat(label, 3, 0)[1:2], (1, 1, 1), labels)
    assert out[0, 1, 14] == 0
    assert (out[0, 3:5, 5] == 1).all()  # below 0.003 ml: the lowest class that it touches
    in_3d = np.pad(label, ((1, 1), (0, 0), (0, 0)))
    in_3d[[0, 2], 2:6, 6:9] = 3
    assert rules(in_3d, (1, 1, 1), labels)[1, 3, 7] == 3


def test_regions_are_cleaned_one_after_the_other() -> None:
    """The largest mass near the kidney stays; one that is removed becomes the class it touches."""
    label = np.zeros((1, 3, 20), np.uint8)
    label[0, 1, 1:4] = 1
    label[0, 1, 4:6] = 3  # beside the kidney
    label[0, 1, 7] = 2  # 3 columns from the kidney: 6 mm
    label[0, 1, 14:18] = 2
    out = clean(label, Labels(**KITS23), masses={"within_mm": 10, "largest": 1})
    assert out[0, 1].tolist() == [0, 1, 1, 1, 3, 3, *[0] * 14]
    both = {"masses": {"largest": 1}, "kidney_and_masses": {"largest": 1}}
    assert clean(label, Labels(**KITS23), **both)[0, 1].tolist() == [0, *[1] * 5, *[0] * 14]
