"""The DataLoader of slices and patches, and its processes."""

import multiprocessing
import os
from collections.abc import Iterable, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from kitsseg.data.slices.dataset import Batch, Sample, collate
from kitsseg.data.slices.sampling import Draw
from kitsseg.system import signals

# A loader process loads some 300 slices of 256 x 256 per second; a GPU trains on about a thousand.
MAX_WORKERS = 8


def make_loader(
    dataset: Dataset[Sample], batches: Iterable[list[Draw]], workers: int, pinned: bool
) -> DataLoader[Sample]:
    """Return the loader of these batches, with ``workers`` processes, from pinned memory or not."""
    options: dict[str, Any] = {}
    if workers:
        # Forking this process itself could copy a lock that one of its threads holds.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["kitsseg.data.slices.dataset"])
        options = {
            "num_workers": workers,
            "multiprocessing_context": context,
            "worker_init_fn": _follow_parent,
            "persistent_workers": True,
        }
    return SliceLoader(dataset, batch_sampler=batches, collate_fn=collate, pin_memory=pinned, **options)


class SliceLoader(DataLoader[Sample]):
    """A DataLoader whose processes ignore the signals that a cluster sends to a job.

    It asks its sampler for the first batch when that is needed. When Lightning resumes a run, it calls
    ``iter`` before it knows the epoch, and DataLoaders with processes would load another epoch.
    """

    def __iter__(self) -> Any:
        with signals.blocked(*signals.CLUSTER_SIGNALS):
            batches = super().__iter__()
        yield from batches


class Batches(Dataset[Batch]):
    """Whole batches as samples, for a DataLoader whose sampler Lightning may replace."""

    def __init__(self, samples: Dataset[Sample], batches: Sequence[Sequence[Any]]) -> None:
        self.samples, self.batches = samples, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        return collate([self.samples[draw] for draw in self.batches[number]])


def default_workers() -> int:
    """Return the number of loader processes per device for this machine.

    Each device has its share of the processors, of which one is left to the training process. With two
    or fewer, slices are loaded between the steps.
    """
    cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(cores - 1, MAX_WORKERS) if cores > 2 else 0


def _follow_parent(worker: int) -> None:
    signals.follow_parent()


def check_sampler(trainer: Any) -> None:
    """Raise `ValueError` if Lightning would divide the slices among several devices once more."""
    connector = getattr(trainer, "_accelerator_connector", None)
    if getattr(connector, "use_distributed_sampler", False) and trainer.world_size > 1:
        raise ValueError(
            "the data module divides the slices among the devices itself; set "
            "Trainer(use_distributed_sampler=False)"
        )
