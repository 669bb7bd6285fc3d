"""Tests of the slices that the overview picture shows."""

import numpy as np

from kitsseg.inference.quicklook import choose_slices


def test_choose_slices() -> None:
    label = np.zeros((100, 4, 4), np.uint8)
    assert choose_slices(label, label == 2, 3) == [0, 50, 99] or choose_slices(label, label == 2, 3) == [
        0,
        49,
        99,
    ]
    label[20:41, 1, 1] = 1
    assert choose_slices(label, label == 2, 3) == [20, 30, 40]
    label[28, 1, 1:3] = 2
    label[27, 1, 1] = 2
    assert choose_slices(label, label == 2, 3) == [20, 28, 40]
    assert choose_slices(label[28:30], label[28:30] == 2, 12) == [0, 1]
