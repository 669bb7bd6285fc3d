"""Lesions found and made up, by hand; voxels of 0.1 ml, so that ten make 1 ml."""

import numpy as np
import pytest

from kitsseg.evaluation.lesions import Lesions, Matching

VOXEL_ML = 0.1


def line(*runs: tuple[int, int]) -> np.ndarray:
    """A mask along the columns, set from each first to each last column."""
    out = np.zeros((3, 3, 100), bool)
    for first, last in runs:
        out[1, 1, first : last + 1] = True
    return out


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        ([], [], Lesions(0, 0, 0, 0)),
        ([], [(0, 9)], Lesions(1, 0, 0, 0)),
        ([(0, 9)], [], Lesions(0, 0, 1, 1)),
        ([(0, 9)], [(0, 9), (50, 59)], Lesions(2, 1, 1, 0)),
        ([(9, 18)], [(0, 9)], Lesions(1, 1, 1, 0)),  # one of ten is just enough on both sides
        ([(10, 18)], [(0, 9)], Lesions(1, 0, 1, 1)),  # beside it is not
        ([(0, 4), (6, 10)], [(0, 10)], Lesions(1, 1, 2, 0)),  # parted: both are true
        ([(0, 19)], [(0, 4), (15, 19)], Lesions(2, 2, 1, 0)),  # joined: both are found
        ([(0, 99)], [(0, 4)], Lesions(1, 1, 1, 1)),  # flooded: found, but by a false one
        ([(0, 9), (30, 33)], [(0, 9), (50, 53)], Lesions(1, 1, 1, 0)),  # 0.4 ml count nowhere
    ],
)
def test_by_hand(prediction: list, truth: list, expected: Lesions) -> None:
    assert Matching(0.5, 0.1)(line(*prediction), line(*truth), VOXEL_ML) == expected


def test_voxels_that_share_a_corner_are_one_lesion() -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
    assert Matching(0, 0.1)(mask, mask, VOXEL_ML) == Lesions(2, 2, 2, 0)


def test_a_lesion_of_exactly_the_smallest_volume_counts_although_products_are_rounded() -> None:
    assert 17 * 0.0007 < 0.0119
    mask = line((0, 16))
    assert Matching(0.0119, 0.1)(mask, mask, 0.0007) == Lesions(1, 1, 1, 0)
    assert Matching(0.0120, 0.1)(mask, mask, 0.0007) == Lesions(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0.1), "min_ml=-1: must be at least 0"),
        ((0.1, 0), r"min_overlap=0: must be in \(0, 1\]"),
        ((0.1, float("nan")), "min_overlap=nan: must be in"),
    ],
)
def test_ranges(arguments: tuple[float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Matching(*arguments)
