"""Which slices a training epoch contains, their order, and how ranks share them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

Rows = npt.NDArray[np.intp]


class Draw(NamedTuple):
    """One sample of an epoch; its randomness depends only on these values and the seed."""

    epoch: int
    position: int
    row: int


def keep_background(foreground: npt.NDArray[np.bool_], keep: float, seed: int | tuple[int, ...]) -> Rows:
    """Return the indices of the slices to train on: all with ``foreground``, and a share of the others.

    "We downsampled the training examples containing only the background class to a randomly selected
    2%, while preserving all the training examples containing either of the kidney and tumour
    classes" (paper section 2.3). Of n background-only slices, ``round(keep * n)`` are kept.
    """
    background = np.flatnonzero(~foreground)
    count = round(keep * len(background))
    kept = np.random.default_rng(seed).choice(background, count, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(foreground), kept]))


@dataclass(eq=False)
class TrainBatches(Sampler[list[Draw]]):
    """The batches of each epoch for one rank.

    The slices of an epoch are shuffled as a whole and cut into global batches of ``batch_size * ranks``,
    of which each rank takes a consecutive part. R ranks with batches of B therefore see the same
    batches as one rank with batches of R x B. An incomplete last batch is dropped, unless it is the
    only one.
    """

    rows: Callable[[int], Rows]  # returns the rows of an epoch
    # Returns the epoch that is about to start; None counts the iterations. Lightning calls ``set_epoch``
    # of samplers, but not of batch samplers, so the epoch is read from the Trainer.
    epoch: Callable[[], int | None]
    batch_size: int  # per rank
    seed: int
    rank: int = 0
    ranks: int = 1
    # Returns how many batches to skip, because they were used before the interruption.
    done: Callable[[], int] = lambda: 0
    _iterations: int = field(default=0, init=False)

    def __len__(self) -> int:
        return self._length(self.rows(self._current_epoch()))

    def _length(self, rows: Rows) -> int:
        return max(1, len(rows) // (self.batch_size * self.ranks))

    def _current_epoch(self) -> int:
        return self._iterations if (epoch := self.epoch()) is None else epoch

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch = self._current_epoch()
        self._iterations += 1
        rows = self.rows(epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(rows))
        draws = [Draw(epoch, i, int(rows[j])) for i, j in enumerate(order)]
        share = min(self.batch_size, len(rows) // self.ranks)
        length = self._length(rows)
        for batch in range(self.done() % length, length):
            start = batch * self.batch_size * self.ranks + self.rank * share
            yield draws[start : start + share]
