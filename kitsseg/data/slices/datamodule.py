"""The LightningDataModule: find, prepare, split, sample and load slices."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset

from kitsseg.data.case import Case
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.slices.augment import Augmentation
from kitsseg.data.slices.coverage import check_copies, check_regions
from kitsseg.data.slices.dataset import Batch, Sample, SliceDataset
from kitsseg.data.slices.loader import Batches, check_sampler, default_workers, make_loader
from kitsseg.data.slices.sampling import Draw, Rows, TrainBatches, keep_background
from kitsseg.data.sources.source import Source
from kitsseg.data.split import Split, check_patients
from kitsseg.data.store.prepare import is_current, prepare
from kitsseg.data.store.store import Resolution, Store, store_folder
from kitsseg.system.obstacles import is_file


class CaseSource(Protocol):
    """Where cases come from: a folder (`Kits19`) or a generator (`Phantom`)."""

    def find(self, root: str | Path, labels: Labels = KITS19) -> list[Case]: ...


# How cases are divided into training and validation, such as `kitsseg.data.split.Seeded`.
Splitter = Callable[[Sequence[Case]], Split]


class SliceDataModule(pl.LightningDataModule):
    """Training and validation slices of the cases below ``root``.

    Args:
        root: folder or table of the cases.
        source: finds the cases there.
        split: divides them.
        augmentation: applied to training slices.
        prepared: folder for the stores of prepared slices.
        size: side of the stored slices in pixels; None keeps each case's own grid of square pixels.
        exclude: ids of cases to leave out.
        neighbours: number of adjacent slices on either side that are added as channels.
        background_keep: share of background-only training slices to keep (paper section 2.3).
        redraw_background: resample the background slices in each epoch.
        target_repeat: how often an epoch contains each slice with the target region of ``labels``.
        batch_size: slices per step per device.
        workers: loader processes per device; None chooses by the number of processors.
        prepare_workers: processes that prepare cases.
        skip_bad: skip unusable cases with a warning instead of raising an error.
        seed: seed of sampling, order and augmentation.
        labels: classes of the label files, and their regions.

    Raises:
        ValueError: a value is out of range; from `prepare_data` and `setup`, a problem of the data.
    """

    samples = "slices"  # what a batch consists of
    # Not an option: in reduced precision, the size of a batch can change the last bit of a result.
    validation_batch = 16

    def __init__(
        self,
        root: str | Path,
        source: CaseSource,
        split: Splitter,
        augmentation: Augmentation,
        prepared: str | Path,
        size: int | None = None,
        neighbours: int = 0,
        exclude: Sequence[str] = (),
        background_keep: float = 0.02,
        redraw_background: bool = False,
        target_repeat: int = 1,
        batch_size: int = 16,
        workers: int | None = 0,
        prepare_workers: int = 1,
        skip_bad: bool = False,
        seed: int = 0,
        labels: Labels = KITS19,
    ) -> None:
        super().__init__()
        if size is not None and (size < 32 or size % 32):
            raise ValueError(f"size={size}: must be null or a multiple of 32, at least 32")
        for name, value, least in (
            ("neighbours", neighbours, 0),
            ("batch_size", batch_size, 1),
            ("target_repeat", target_repeat, 1),
            ("workers", 0 if workers is None else workers, 0),
            ("prepare_workers", prepare_workers, 1),
        ):
            if value < least:
                raise ValueError(f"{name}={value}: must be at least {least}")
        if not 0 <= background_keep <= 1:
            raise ValueError(f"background_keep={background_keep}: must be between 0 and 1")
        if augmentation is not None:  # `kitsseg.prepare` checks its configuration without one
            self._check_augmentation(augmentation, neighbours)
        self.root, self.source, self.splitter = Path(root).expanduser(), source, split
        self.augmentation, self.prepared, self.size = augmentation, prepared, size
        self.neighbours, self.labels = neighbours, labels
        self.exclude, self.background_keep = set(exclude), background_keep
        self.redraw_background, self.target_repeat = redraw_background, target_repeat
        self.batch_size, self.prepare_workers, self.seed = batch_size, prepare_workers, seed
        self.workers = default_workers() if workers is None else workers
        self.skip_bad, self.target_only = skip_bad, False
        self.store: Store
        self.split: Split
        self.cases: dict[str, Case] = {}
        self._is_prepared = self._is_set_up = False

    def _check_augmentation(self, augmentation: Augmentation, neighbours: int) -> None:
        augmentation.check_slices(neighbours)

    def prepare_data(self) -> None:
        """Prepare the cases that are missing from the store.

        Lightning calls this in one process per node. Called again, it does nothing.
        """
        if self._is_prepared:
            return
        cases = self._find_cases()
        folder = self._store_folder(cases)
        prepare(cases, folder, self.resolution, self.prepare_workers, self.skip_bad, self.labels)
        self._is_prepared = True

    def setup(self, stage: str | None = None) -> None:
        """Open the store and split its cases. Lightning calls this in every process."""
        if self._is_set_up:
            return
        self.store = self.open_store()
        cases = self.store.with_target(self.cases.values(), self.labels.ids(self.labels.target))
        split, source = self.splitter(cases), self.source
        named = source.test_cases(self.root, self.labels) if isinstance(source, Source) else []
        self.split = replace(split, test=sorted({*split.test, *(case.id for case in named)}))
        check_patients(self.split, [*cases, *named])
        check_copies(self.store, self.split)
        self.train_rows = self._rows_of(self.split.train)
        self.validation_rows = self._rows_of(self.split.validation)
        sides = (self.train_rows, self.validation_rows)
        check_regions(self.store.index, *sides, self.labels, self.target_repeat)
        self._is_set_up = True

    def open_store(self) -> Store:
        """Return the store of the prepared cases.

        Raises:
            ValueError: a case is not prepared, and ``skip_bad`` is false.
        """
        cases = self._find_cases()
        folder = self._store_folder(cases)
        missing = [case.id for case in cases if not is_current(case, folder, self.labels)]
        if missing and not self.skip_bad:
            raise ValueError(f"{folder}: {missing[0]} is not prepared; call prepare_data() first")
        self.cases = {case.id: case for case in cases if case.id not in missing}
        return Store(folder, list(self.cases))

    def _find_cases(self) -> list[Case]:
        found = self.source.find(self.root, self.labels)
        ids = {case.id for case in found}
        if unknown := self.exclude - ids:
            raise ValueError(f"data.exclude={sorted(unknown)}: data.root has no such cases")
        if self.exclude == ids:
            raise ValueError(f"data.exclude: excludes all {len(ids)} cases; exclude fewer")
        return [case for case in found if case.id not in self.exclude]

    def _store_folder(self, cases: Sequence[Case]) -> Path:
        # A table lists any folders; the phantom writes its cases into a folder of its own below root.
        root = self.root if is_file(self.root) else cases[0].image.parent.parent
        options = getattr(self.source, "options", ())
        return store_folder(self.prepared, root, self.resolution, self.labels, options)

    def _rows_of(self, ids: Sequence[str]) -> Rows:
        return np.flatnonzero(np.isin(self.store.index.case, self.store.numbers(ids)))

    @property
    def resolution(self) -> Resolution:
        """The resolution of the store."""
        return self.size

    def adapt(self, network: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration of a network, with what it leaves to the data."""
        return network

    @property
    def chosen(self) -> dict[str, Any]:
        """The arguments that were chosen from the data, for the record."""
        return {}

    def inputs(self) -> dict[str, Any]:
        """Return what a network sees, as arguments of `kitsseg.inference.checkpoint.header`."""
        return {"size": self.size, "neighbours": self.neighbours, "pixel_mm": self.pixel_range_mm()}

    def pixel_range_mm(self) -> tuple[float, float]:
        """Return the smallest and the largest height of a pixel in the stored training slices."""
        store, cases = self.store, np.unique(self.store.index.case[self.train_rows])
        mm = [store.grid(c).stored_mm(store.cards[c]["spacing_mm"][1]) for c in map(int, cases)]
        return min(mm), max(mm)

    def for_target_slices(self) -> "SliceDataModule":
        """Return a data module that trains on slices with the target region (stage two, paper 2.3).

        Raises:
            ValueError: no training slice contains it.
        """
        other = copy.copy(self)
        other.target_only = True
        if not len(other.rows(0)):
            raise ValueError(
                f"finetune=tumor: no training slice contains {self.labels.target}; use finetune=none or "
                "other cases"
            )
        return other

    def rows(self, epoch: int) -> Rows:
        """Return the rows of the store's index that training epoch ``epoch`` contains, sorted."""
        index = self.store.index
        has_target = index.contains(self.labels.ids(self.labels.target))[self.train_rows]
        if self.target_only:
            return np.asarray(self.train_rows[has_target])
        seed = (self.seed, epoch) if self.redraw_background else (self.seed,)
        kept = keep_background(index.foreground[self.train_rows], self.background_keep, seed)
        repeats = np.where(has_target[kept], self.target_repeat, 1)
        return np.asarray(self.train_rows[np.repeat(kept, repeats)])

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return shuffled batches. Their content depends only on seed, epoch and rank."""
        rank, ranks = self._rank()
        if len(self.rows(0)) < ranks:
            raise ValueError(
                f"{len(self.rows(0))} training {self.samples} are too few for {ranks} ranks; use fewer "
                "devices"
            )
        batches = TrainBatches(
            self.rows, self._epoch, self.batch_size, self.seed, rank, ranks, self._batches_done
        )
        return self._loader(self._training_samples(), batches)

    def _training_samples(self) -> Dataset[Sample]:
        return SliceDataset(self.store, self.neighbours, self.augmentation, self.seed)

    def _validation_samples(self) -> tuple[Dataset[Sample], Rows, npt.NDArray[np.int64]]:
        """Return all validation samples, their rows and their cases."""
        rows = self.validation_rows
        return SliceDataset(self.store, self.neighbours), rows, self.store.index.case[rows]

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return every validation slice once, in order; the ranks share the batches."""
        rank, ranks = self._rank()
        dataset, rows, in_case = self._validation_samples()
        batches, size = [], self.validation_batch
        for case in np.unique(in_case):  # a batch holds slices of one case, so they have one size
            draws = [Draw(0, 0, int(r)) for r in rows[in_case == case]]
            batches += [draws[i : i + size] for i in range(0, len(draws), size)]
        own = batches[rank::ranks]
        # Lightning skips validation on a rank without batches, and the others would wait for it. The
        # task counts each row once.
        return self._loader(dataset, own if own else batches[:1])

    def test_dataloader(self) -> DataLoader[Sample]:
        """Return the validation slices, for `Trainer.test`."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the validation slices, for `Trainer.predict`, which replaces batch samplers."""
        loader = self.val_dataloader()
        return DataLoader(Batches(loader.dataset, list(loader.batch_sampler or ())), batch_size=None)

    def _epoch(self) -> int | None:
        """Return the training epoch that is about to start: 0 with overfit_batches, None if unknown."""
        if self.trainer is None:
            return None
        return 0 if getattr(self.trainer, "overfit_batches", False) else self.trainer.current_epoch

    def _batches_done(self) -> int:
        """Return how many batches of the epoch have been trained on; above 0 in a resumed epoch."""
        loop = self.trainer.fit_loop.epoch_loop if self.trainer else None
        return loop.batch_progress.current.completed if loop is not None else 0

    def _rank(self) -> tuple[int, int]:
        """Return the rank of this process and the number of ranks."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(
        self, dataset: Dataset[Sample], batches: TrainBatches | list[list[Draw]]
    ) -> DataLoader[Sample]:
        check_sampler(self.trainer)
        pinned = bool(self.trainer and self.trainer.strategy.root_device.type == "cuda")
        return make_loader(dataset, batches, self.workers, pinned)
