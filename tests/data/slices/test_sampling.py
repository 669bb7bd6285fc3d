"""Which slices train (paper section 2.3), and how ranks share them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitsseg.data.slices.sampling import Draw, TrainBatches, keep_background
from kitsseg.data.store.store import Index


def index(foreground: np.ndarray) -> Index:
    rows = np.arange(len(foreground))
    pixels = np.stack([np.full_like(rows, 9), foreground.astype(int), np.zeros_like(rows)], axis=1)
    return Index(case=rows // 10, z=rows % 10, pixels=pixels)


def test_kits19_keeps_582_of_29088_background_slices() -> None:
    foreground = np.arange(45424) < 16336
    rows = keep_background(index(foreground).foreground, 0.02, seed=0)
    assert foreground[rows].sum() == 16336  # all of them
    assert (~foreground[rows]).sum() == 582  # 2 % of 29,088
    assert len(np.unique(rows)) == len(rows)


@pytest.mark.parametrize(("keep", "count"), [(0, 3), (0.25, 5), (1, 10)])
def test_share_by_hand(keep: float, count: int) -> None:
    foreground = np.zeros(10, bool)
    foreground[[1, 4, 7]] = True
    rows = keep_background(index(foreground).foreground, keep, seed=0)
    assert len(rows) == count  # 3 + round(keep * 7)
    assert {1, 4, 7} <= set(rows.tolist())


def test_tumour_without_kidney_is_foreground() -> None:
    pixels = np.array([[9, 0, 0], [9, 0, 3], [9, 2, 0]])
    slices = Index(case=np.zeros(3, int), z=np.arange(3), pixels=pixels)
    assert keep_background(slices.foreground, 0, seed=0).tolist() == [1, 2]


def test_seed_decides() -> None:
    slices = index(np.zeros(1000, bool))
    first, again, other = (keep_background(slices.foreground, 0.1, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def batches(rows: int, size: int, rank: int = 0, ranks: int = 1, epoch: int = 0) -> list[list[Draw]]:
    sampler = TrainBatches(lambda epoch: np.arange(rows) * 7, lambda: epoch, size, 5, rank, ranks)
    assert len(list(sampler)) == len(sampler)
    return list(sampler)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 3))
def test_no_slice_comes_twice(rows: int, size: int, ranks: int) -> None:
    if rows < ranks:
        return
    seen = [d.row for rank in range(ranks) for b in batches(rows, size, rank, ranks) for d in b]
    assert len(seen) == len(set(seen))
    assert set(seen) <= {7 * i for i in range(rows)}
    assert len(seen) >= min(rows, rows // (size * ranks) * size * ranks)


def test_ranks_share_the_batches_of_one() -> None:
    """2 ranks with batches of 3 see together what 1 rank sees in a batch of 6."""
    whole = batches(40, 6)
    halves = [batches(40, 3, rank, 2) for rank in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole


def test_epochs_differ_and_repeat_by_seed() -> None:
    assert batches(20, 4, epoch=1) == batches(20, 4, epoch=1)
    rows = [[d.row for b in batches(20, 4, epoch=e) for d in b] for e in (0, 1)]
    assert rows[0] != rows[1]
    assert sorted(rows[0]) == sorted(rows[1])


def test_fewer_slices_than_a_batch_make_one_batch() -> None:
    assert [len(b) for b in batches(5, 8)] == [5]
