"""Which training slices an epoch sees, in which order, and how ranks share them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from kitsseg.data.store.store import Index


class Draw(NamedTuple):
    """One sample of one epoch; what is random about it follows from these and the seed alone."""

    epoch: int
    position: int
    row: int


def keep_background(index: Index, keep: float, seed: int | tuple[int, ...]) -> np.ndarray:
    """Rows of ``index`` to train on: all with kidney or tumour, a share ``keep`` of the others.

    "We downsampled the training examples containing only the background class to a randomly selected
    2%, while preserving all the training examples containing either of the kidney and tumour
    classes" (paper section 2.3).

    Returns:
        Sorted row numbers; of n background rows ``round(keep * n)`` are among them.

    Raises:
        ValueError: ``keep`` lies outside [0, 1].
    """
    if not 0 <= keep <= 1:
        raise ValueError(f"background_keep={keep} must lie in [0, 1]: a share of the slices")
    background = np.flatnonzero(~index.foreground)
    count = round(keep * len(background))
    kept = np.random.default_rng(seed).choice(background, count, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(index.foreground), kept]))


class TrainBatches(Sampler[list[Draw]]):
    """The batches of each epoch for one rank.

    An epoch's slices are shuffled as a whole and cut into global batches of ``batch_size * ranks``;
    each rank takes its consecutive part. So R ranks with batches of B see what one rank with batches
    of R x B sees. A last incomplete batch is left out, unless it is the only one.

    Args:
        rows: ``rows(epoch)`` gives the row numbers of an epoch.
        epoch: the one that is about to begin. It is asked for, since nobody tells a batch sampler:
            Lightning calls ``set_epoch`` of samplers alone, and each epoch would be the first again.
        batch_size: slices a batch and rank.
        seed: of the order.
        rank, ranks: this process and how many there are.
    """

    def __init__(
        self,
        rows: Callable[[int], np.ndarray],
        epoch: Callable[[], int],
        batch_size: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.rows, self.epoch, self.batch_size, self.seed = rows, epoch, batch_size, seed
        self.rank, self.ranks = rank, ranks

    def __len__(self) -> int:
        return max(1, len(self.rows(self.epoch())) // (self.batch_size * self.ranks))

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch = self.epoch()
        rows = self.rows(epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(rows))
        draws = [Draw(epoch, i, int(rows[j])) for i, j in enumerate(order)]
        share = min(self.batch_size, len(rows) // self.ranks)
        for batch in range(len(self)):
            start = batch * self.batch_size * self.ranks + self.rank * share
            yield draws[start : start + share]
