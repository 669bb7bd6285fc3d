"""Surface Dice and HD95 in mm: by hand, against surface-distance and MONAI, and of nothing."""

import math

import numpy as np
import pytest
import surface_distance
import torch
from monai.metrics import compute_surface_dice
from scipy import ndimage

from kitsseg.data.bounding_box import bounding_box, plane_box
from kitsseg.evaluation.surface import corner_codes, surfaces

SPACING_MM = (3.0, 0.7, 0.9)
NOTHING = np.zeros((4, 5, 6), bool)


def box(shape: tuple[int, int, int], *sides: tuple[int, int]) -> np.ndarray:
    out = np.zeros(shape, bool)
    out[tuple(slice(*side) for side in sides)] = True
    return out


def blob(seed: int, share: float, smooth: float = 1.5) -> np.ndarray:
    """``share`` of the voxels, lumpy; some touch the border of the volume."""
    noise = np.random.default_rng(seed).normal(size=(12, 20, 24))
    noise = ndimage.gaussian_filter(noise, smooth) if smooth else noise
    return noise > np.quantile(noise, 1 - share)


# ---- by hand


@pytest.mark.parametrize(("axis", "steps", "mm"), [(0, 2, 6.0), (1, 3, 2.1), (2, 4, 3.6)])
def test_a_shifted_box_is_as_far_off_as_it_was_shifted(axis: int, steps: int, mm: float) -> None:
    truth = box((20, 20, 20), (4, 12), (4, 12), (4, 12))
    both = surfaces(np.roll(truth, steps, axis), truth, SPACING_MM)
    assert both.hausdorff_mm(100) == pytest.approx(mm)
    assert both.dice(mm + 1e-9) == 1
    assert 0.5 < both.dice(mm - 1e-6) < 1


def test_two_single_voxels() -> None:
    """3, 4 and 0 voxels apart at 1 mm: 5 mm at every one of the eight corners."""
    p, g = np.zeros((2, 8, 8, 8), bool)
    p[1, 1, 1] = g[4, 5, 1] = True
    both = surfaces(p, g, (1, 1, 1))
    # Each corner of the one voxel has the other's near corner to go to: between 2, 3 and 3, 4 steps.
    assert sorted(both.to_truth_mm) == pytest.approx(
        sorted([math.hypot(a, b) for a in (2, 3) for b in (3, 4)] * 2)
    )
    assert both.hausdorff_mm(100) == 5
    # A lone voxel's surface is an octahedron of edge √½: 2 √3 edge² mm².
    assert both.truth_mm2.sum() == pytest.approx(2 * math.sqrt(3) * 0.5)


def test_area_of_a_slab_at_an_anisotropic_spacing() -> None:
    """Inside a face, a corner stands for one voxel's face."""
    g = box((6, 12, 12), (2, 4), (0, 12), (0, 12))
    codes = corner_codes(g)
    assert (codes[2, 5, 5], codes[4, 5, 5], codes[3, 5, 5]) == (0b1111, 0b11110000, 0xFF)
    where = np.argwhere((codes != 0) & (codes != 0xFF)).tolist()
    areas = surfaces(g, g, SPACING_MM).truth_mm2
    assert areas[where.index([2, 5, 5])] == pytest.approx(0.7 * 0.9)


def test_ninety_five_per_cent_by_area_not_by_number() -> None:
    truth = box((30, 30, 30), (5, 25), (5, 25), (5, 25))
    prediction = truth.copy()
    prediction[28, 28, 28] = True  # a speck, far away: 8 of some 2,400 corners
    both = surfaces(prediction, truth, (1, 1, 1))
    assert both.hausdorff_mm(95) == 0
    # From the speck's far corner (29, 29, 29) to the box's nearest, of which (25, 25, 25) is one
    # of its surface's: all of its eight voxels but one are empty.
    assert both.hausdorff_mm(100) == pytest.approx(4 * math.sqrt(3))


# ---- nothing there


def test_empty_masks() -> None:
    something = box((4, 5, 6), (1, 3), (1, 3), (1, 3))
    neither = surfaces(NOTHING, NOTHING, SPACING_MM)
    assert math.isnan(neither.dice(1)) and math.isnan(neither.hausdorff_mm())
    for pair in ((something, NOTHING), (NOTHING, something)):
        one = surfaces(*pair, SPACING_MM)
        assert one.dice(1e9) == 0 and one.hausdorff_mm() == math.inf


def test_the_same_twice_and_everything() -> None:
    full = np.ones((4, 5, 6), bool)
    both = surfaces(full, full, SPACING_MM)
    assert both.dice(0) == 1 and both.hausdorff_mm(100) == 0


# ---- against other implementations

PAIRS = [(0.1, 0.1, 1.5), (0.02, 0.3, 1.0), (0.4, 0.4, 0.0), (0.001, 0.2, 1.0), (1.0, 0.1, 1.5)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("first", "second", "smooth"), PAIRS)
def test_equal_to_surface_distance(seed: int, first: float, second: float, smooth: float) -> None:
    p, g = blob(seed, first, smooth), blob(seed + 100, second, smooth)
    ours = surfaces(p, g, SPACING_MM)
    theirs = surface_distance.compute_surface_distances(g, p, SPACING_MM)
    assert np.sort(ours.to_truth_mm) == pytest.approx(theirs["distances_pred_to_gt"], abs=1e-12)
    assert np.sort(ours.to_prediction_mm) == pytest.approx(theirs["distances_gt_to_pred"], abs=1e-12)
    for percent in (50, 95, 99, 100):
        expected = surface_distance.compute_robust_hausdorff(theirs, percent)
        assert ours.hausdorff_mm(percent) == pytest.approx(expected, rel=1e-12)
    for tolerance_mm in (0, 0.71, 1, 2.9, 5):
        expected = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance_mm)
        assert ours.dice(tolerance_mm) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tolerance_mm", [0.5, 1.0, 3.5])
def test_equal_to_monais_surface_dice(seed: int, tolerance_mm: float) -> None:
    p, g = blob(seed, 0.1), blob(seed + 50, 0.15)
    tensors = [torch.from_numpy(mask)[None, None].float() for mask in (p, g)]
    theirs = compute_surface_dice(
        *tensors, [tolerance_mm], include_background=True, spacing=SPACING_MM, use_subvoxels=True
    )
    assert surfaces(p, g, SPACING_MM).dice(tolerance_mm) == pytest.approx(float(theirs), abs=1e-5)


# ---- cropping


def test_what_lies_round_it_changes_nothing() -> None:
    p, g = blob(1, 0.1), blob(2, 0.1)
    small, large = (surfaces(*(np.pad(mask, by) for mask in (p, g)), SPACING_MM) for by in (0, 7))
    assert np.array_equal(small.to_truth_mm, large.to_truth_mm)
    assert np.array_equal(small.truth_mm2, large.truth_mm2)


def test_bounding_box() -> None:
    volume = np.zeros((5, 6, 7), np.uint8)
    assert bounding_box(volume) is None
    assert plane_box(np.zeros((0, 3), bool)) is None
    volume[1, 2, 3] = 2
    volume[3, 2, 6] = 1
    assert bounding_box(volume) == (slice(1, 4), slice(2, 3), slice(3, 7))
    assert bounding_box(np.asfortranarray(volume) > 0) == (slice(1, 4), slice(2, 3), slice(3, 7))


def test_plane_box() -> None:
    plane = np.zeros((50, 60), bool)
    assert plane_box(plane) is None
    plane[10, 20] = plane[30, 25] = True
    assert plane_box(plane) == (slice(10, 31), slice(20, 26))
