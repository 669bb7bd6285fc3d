"""`kitsseg.data.store.volume_grid`."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from kitsseg.data.store.volume_grid import VolumeGrid


def test_the_stored_volume_has_the_extent_of_the_native_one() -> None:
    grid = VolumeGrid.at_spacing((40, 128, 100), (5.0, 0.8, 0.8), (2.5, 1.6, 1.6))
    assert grid.stored == (80, 64, 50) and grid.repeat_slices
    assert not VolumeGrid.at_spacing((40, 128, 100), (2.0, 0.8, 0.8), (2.5, 1.6, 1.6)).repeat_slices
    assert VolumeGrid.at_spacing((40, 128, 100), (5.0, 0.8, 0.8), None).stored == (40, 128, 100)


def test_more_voxels_are_interpolated_as_torch_does() -> None:
    image = np.random.default_rng(0).integers(-1000, 1000, (6, 10, 8)).astype(np.int16)
    grown = VolumeGrid((6, 10, 8), (15, 13, 20)).fit_image(image)
    expected = F.interpolate(torch.from_numpy(image).float()[None, None], (15, 13, 20), mode="trilinear")
    assert np.abs(grown - expected[0, 0].numpy()).max() < 0.51


@pytest.mark.parametrize("stored", [(15, 13, 20), (6, 25, 8), (20, 10, 8), (6, 11, 9)])
def test_cubic_is_the_spline_of_scipy(stored: tuple[int, int, int]) -> None:
    native = (6, 10, 8)
    image = np.random.default_rng(0).integers(-1000, 1000, native).astype(np.int16)
    grid = VolumeGrid(native, stored, cubic=True)
    ratios = [new / old for new, old in zip(stored, native, strict=True)]
    expected = ndimage.zoom(image.astype(float), ratios, order=3, mode="nearest", grid_mode=True)
    assert np.abs(grid.fit_image(image) - expected).max() < 0.6
    assert np.array_equal(grid.fit_image(image, 2, 5), grid.fit_image(image)[2:5])
    label = (image > 500).astype(np.uint8)
    assert np.array_equal(grid.fit_label(label), VolumeGrid(native, stored).fit_label(label))


def test_a_spline_does_not_overflow() -> None:
    image = np.where(np.arange(8) < 4, -32768, 32767).astype(np.int16)[:, None, None]
    found = VolumeGrid((8, 1, 1), (16, 1, 1), cubic=True).fit_image(image)[:, 0, 0]
    assert (found[:8] < 0).all() and (found[8:] > 0).all() and found.min() == -32768


def test_cubic_beside_averaged_rows_and_repeated_slices() -> None:
    """As nnU-Net, a volume with thick slices is interpolated within slices only."""
    image = np.random.default_rng(0).integers(-1000, 1000, (6, 12, 8)).astype(np.int16)
    grid = VolumeGrid.at_spacing((6, 12, 8), (9, 1, 1), (4.5, 2, 0.5), "cubic")
    assert grid == VolumeGrid((6, 12, 8), (12, 6, 16), repeat_slices=True, cubic=True)
    half = image.reshape(6, 6, 2, 8).mean(2)
    expected = ndimage.zoom(half[2], (1, 2), order=3, mode="nearest", grid_mode=True)
    found = grid.fit_image(image)
    assert np.abs(found[4:6] - expected).max() < 0.6


def test_fewer_voxels_are_averages() -> None:
    image = np.random.default_rng(0).integers(-1000, 1000, (6, 12, 8)).astype(np.int16)
    shrunk = VolumeGrid((6, 12, 8), (3, 4, 2)).fit_image(image)
    expected = F.avg_pool3d(torch.from_numpy(image).float()[None, None], (2, 3, 4))
    assert np.abs(shrunk - expected[0, 0].numpy()).max() < 0.51
    # Along one axis only: OpenCV's area interpolation would not average.
    mixed = VolumeGrid((6, 12, 8), (6, 6, 16)).fit_image(image)
    half = image.reshape(6, 6, 2, 8).mean(2)
    assert np.abs(mixed[..., 0] - half[..., 0]).max() < 0.51


def test_thick_slices_are_repeated() -> None:
    image = np.arange(4, dtype=np.int16).reshape(4, 1, 1) * np.ones((1, 8, 8), np.int16)
    repeated = VolumeGrid((4, 8, 8), (8, 8, 8), repeat_slices=True).fit_image(image)
    assert repeated[:, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("stored", [(20, 30, 30), (30, 60, 60), (47, 51, 72), (60, 80, 40)])
def test_labels_keep_their_volume(stored: tuple[int, int, int]) -> None:
    native = (40, 60, 60)
    z, y, x = np.mgrid[:40, :60, :60]
    label = np.zeros(native, np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(6):
        centre, radius = rng.uniform(8, 32, 3) * (1, 1.5, 1.5), rng.uniform(7, 12)
        inside = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius**2
        label[inside] = rng.integers(1, 3)
    resized = VolumeGrid(native, stored).fit_label(label)
    for class_id in (1, 2):
        before, after = (label == class_id).mean(), (resized == class_id).mean()
        assert abs(after / before - 1) < 0.03


def test_a_native_volume_is_unchanged() -> None:
    image = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    assert np.array_equal(VolumeGrid((3, 4, 5), (3, 4, 5)).fit_image(image), image)
