"""`kitsseg.data.store.grid`."""

import cv2
import numpy as np
import pytest

from kitsseg.data.labels import AIR_HU
from kitsseg.data.store.grid import Grid


def test_shrinking_averages_and_votes() -> None:
    grid = Grid((4, 4), 2)
    image = np.arange(16, dtype=np.int16).reshape(1, 4, 4) * 10
    assert grid.fit_image(image)[0].tolist() == [[25, 45], [105, 125]]
    label = np.array([[[1, 1, 0, 0], [1, 0, 0, 2], [2, 2, 0, 0], [2, 1, 0, 0]]], np.uint8)
    assert grid.fit_label(label)[0].tolist() == [[1, 0], [2, 0]]


def test_every_class_votes() -> None:
    label = np.repeat(np.repeat(np.array([[[63, 0], [5, 17]]], np.uint8), 2, axis=1), 2, axis=2)
    assert Grid((4, 4), 2).fit_label(label).tolist() == [[[63, 0], [5, 17]]]


@pytest.mark.parametrize(
    ("native", "size"), [((64, 96), 32), ((60, 60), 20), ((64, 64), 32), ((50, 70), 32)]
)
def test_a_vote_is_that_of_the_whole_slice(native: tuple[int, int], size: int) -> None:
    grid = Grid(native, size)
    rng = np.random.default_rng(0)
    label = np.zeros((20, *native), np.uint8)
    for plane in label:
        for c in (1, 2):
            top, left = rng.integers(0, 40, 2)
            plane[top : top + rng.integers(1, 30), left : left + rng.integers(1, 30)] = c
    rows, cols = grid.inside
    for plane, fitted in zip(label, grid.fit_label(label), strict=True):
        shares = [
            cv2.resize((plane == c).astype(np.float32), grid.scaled[::-1], interpolation=cv2.INTER_AREA)
            for c in range(3)
        ]
        lowest, highest = np.argmax(shares, axis=0), 2 - np.argmax(shares[::-1], axis=0)
        is_even = np.add.outer(*map(np.arange, lowest.shape)) % 2 == 0
        assert np.array_equal(fitted[rows, cols], np.where(is_even, lowest, highest))
        assert fitted.sum() == fitted[rows, cols].sum()


def test_growing_interpolates() -> None:
    image = np.arange(36, dtype=np.int16).reshape(1, 6, 6) * 100
    grown = Grid((6, 6), 12).fit_image(image)
    assert np.array_equal(grown[0], cv2.resize(image[0], (12, 12), interpolation=cv2.INTER_LINEAR))


def test_padding_is_air() -> None:
    stored = Grid((32, 64), 64).fit_image(np.full((1, 32, 64), 40, np.int16))
    assert (stored[0, :16] == AIR_HU).all() and (stored[0, 48:] == AIR_HU).all()
    assert (stored[0, 16:48] == 40).all()
