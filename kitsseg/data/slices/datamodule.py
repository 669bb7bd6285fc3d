"""Data for the Trainer: find, prepare, split, sample, load."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from kitsseg.data.case import Case
from kitsseg.data.slices import loader_server
from kitsseg.data.slices.augment import Augmentation
from kitsseg.data.slices.dataset import Sample, SliceDataset
from kitsseg.data.slices.loader import Loader
from kitsseg.data.slices.sampling import Draw, TrainBatches, keep_background
from kitsseg.data.split import Split
from kitsseg.data.store.prepare import prepare
from kitsseg.data.store.store import Index, Store, store_folder

# Not an option: in reduced precision a batch's size can move the last bit of a result.
VALIDATION_BATCH = 16


class Source(Protocol):
    """Where cases come from: a folder (`Kits19`) or a generator (`Phantom`)."""

    def find(self, root: str | Path) -> list[Case]: ...


class Splitter(Protocol):
    """How cases are divided, such as `kitsseg.data.split.Seeded`."""

    def __call__(self, ids: list[str]) -> Split: ...


class SliceDataModule(pl.LightningDataModule):
    """Training and validation slices of the cases below ``root``.

    Args:
        root: folder of the cases.
        source: finds the cases there.
        split: divides their ids.
        augmentation: applied to training slices.
        prepared: folder for the stores of prepared slices.
        size: pixels of the stored square's side, or None for each case's own grid.
        exclude: ids to leave out.
        neighbours: slices on either side that the network sees besides the one it segments.
        background_keep: share of background-only training slices that is kept (paper section 2.3).
        redraw_background: draw those anew each epoch.
        tumour_repeat: how often an epoch sees each slice with tumour.
        batch_size: slices a step and device.
        workers: loader processes a device; None: as many as its share of the processors allows.
        prepare_workers: processes that prepare cases.
        skip_bad: go on without the cases that can't be used, instead of refusing them all.
        seed: of sampling, order and augmentation.

    Raises:
        ValueError: a value out of its range; from `open`, what is wrong with the data.
    """

    def __init__(
        self,
        root: str | Path,
        source: Source,
        split: Splitter,
        augmentation: Augmentation,
        prepared: str | Path,
        size: int | None = None,
        neighbours: int = 0,
        exclude: Sequence[str] = (),
        background_keep: float = 0.02,
        redraw_background: bool = False,
        tumour_repeat: int = 1,
        batch_size: int = 16,
        workers: int | None = 0,
        prepare_workers: int = 1,
        skip_bad: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if size is not None and (size < 32 or size % 32):
            raise ValueError(f"size={size} must be a multiple of 32, at least 32, or null")
        if neighbours < 0:
            raise ValueError(f"neighbours={neighbours} must not be negative")
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        if tumour_repeat < 1:
            raise ValueError(f"tumour_repeat={tumour_repeat} must be at least 1")
        if (workers is not None and workers < 0) or prepare_workers < 1:
            raise ValueError(f"workers={workers}, prepare_workers={prepare_workers}: at least 0 and 1")
        if not 0 <= background_keep <= 1:
            raise ValueError(
                f"background_keep={background_keep} must lie in [0, 1]: a share of the slices"
            )
        self.root, self.source, self.splitter = Path(root), source, split
        self.augmentation, self.prepared, self.size = augmentation, prepared, size
        self.neighbours = neighbours
        self.exclude, self.background_keep = set(exclude), background_keep
        self.redraw_background, self.tumour_repeat = redraw_background, tumour_repeat
        self.batch_size = batch_size
        self.workers = loader_server.count(workers)
        self.prepare_workers, self.seed = prepare_workers, seed
        self.skip_bad = skip_bad
        self.tumour_only = False

    def open_store(self) -> Store:
        """Find the cases and prepare what is missing of them."""
        found = self.source.find(self.root)
        if unknown := self.exclude - {c.id for c in found}:
            raise ValueError(f"data.exclude names {sorted(unknown)}, which data.root doesn't hold")
        self.cases = {c.id: c for c in found if c.id not in self.exclude}
        # A phantom lies in a folder of its own below root.
        folder = store_folder(self.prepared, found[0].image.parent.parent, self.size)
        cases = list(self.cases.values())
        self.store = prepare(cases, folder, self.size, self.prepare_workers, self.skip_bad)
        return self.store

    def open(self) -> None:
        """Open the store and split its cases."""
        self.open_store()
        if self.workers:
            loader_server.start()
        self.split = self.splitter(self.store.ids)
        number = {case: i for i, case in enumerate(self.store.ids)}
        in_case = self.store.index.case
        self.train_rows = np.flatnonzero(np.isin(in_case, [number[c] for c in self.split.train]))
        self.validation_rows = np.flatnonzero(
            np.isin(in_case, [number[c] for c in self.split.validation])
        )

    def for_tumour_slices(self) -> "SliceDataModule":
        """The same data, but training sees slices with tumour only (stage two, paper section 2.3).

        Raises:
            ValueError: no training slice has any.
        """
        other = copy.copy(self)
        other.tumour_only = True
        if not len(other.rows(0)):
            raise ValueError(
                "finetune=tumor: no training slice holds tumour; use finetune=none or other cases"
            )
        return other

    def rows(self, epoch: int) -> np.ndarray:
        """The rows of the store's index that training epoch ``epoch`` sees, sorted."""
        whole = self.store.index
        index = Index(*(a[self.train_rows] for a in (whole.case, whole.z, whole.pixels)))
        if self.tumour_only:
            return self.train_rows[index.has_tumour]
        seed = (self.seed, epoch) if self.redraw_background else (self.seed,)
        kept = keep_background(index, self.background_keep, seed)
        return self.train_rows[np.repeat(kept, np.where(index.has_tumour[kept], self.tumour_repeat, 1))]

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled batches; what they hold depends on seed, epoch and ranks alone."""
        rank, ranks = self._rank()
        if len(self.rows(0)) < ranks:
            raise ValueError(
                f"{len(self.rows(0))} training slices are too few for {ranks} ranks; use fewer devices"
            )
        batches = TrainBatches(self.rows, self._epoch, self.batch_size, self.seed, rank, ranks)
        return self._loader(
            SliceDataset(self.store, self.neighbours, self.augmentation, self.seed), batches
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        """Every validation slice once, in order, spread over the ranks."""
        rank, ranks = self._rank()
        rows = self.validation_rows
        in_case = self.store.index.case[rows]
        batches = []
        for case in np.unique(in_case):  # a batch holds one case, so its slices have one size
            draws = [Draw(0, 0, int(r)) for r in rows[in_case == case]]
            batches += [draws[i : i + VALIDATION_BATCH] for i in range(0, len(draws), VALIDATION_BATCH)]
        mine = batches[rank::ranks]
        # Without any, Lightning would leave a rank out and the others wait; the task counts a row once.
        return self._loader(SliceDataset(self.store, self.neighbours), mine if mine else batches[:1])

    def _epoch(self) -> int:
        """The training epoch that is under way or about to begin, from 0."""
        return self.trainer.current_epoch if self.trainer else 0

    def _rank(self) -> tuple[int, int]:
        """This process and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(
        self, dataset: SliceDataset, batches: TrainBatches | list[list[Draw]]
    ) -> DataLoader[Sample]:
        pinned = bool(self.trainer and self.trainer.strategy.root_device.type == "cuda")
        return Loader(dataset, batches, self.workers, pinned)
