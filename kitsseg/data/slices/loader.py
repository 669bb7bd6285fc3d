"""The processes that load slices: how they begin, and what ends them."""

from typing import Any

from torch.utils.data import DataLoader

from kitsseg.data.slices import loader_server
from kitsseg.data.slices.dataset import Sample, SliceDataset, collate
from kitsseg.data.slices.sampling import Draw, TrainBatches
from kitsseg.system import signals


class Loader(DataLoader[Sample]):
    """Batches of slices, read by ``workers`` processes, or by this one if there are none.

    They are forks of a server without threads, not of this process: a fork keeps what this one's
    other threads hold at that moment, and where that is a lock of CPython 3.11's own, it never begins.
    A cluster's signals don't end them; that this process has ended does.
    """

    def __init__(
        self,
        dataset: SliceDataset,
        batches: TrainBatches | list[list[Draw]],
        workers: int,
        pin_memory: bool,
    ) -> None:
        several: dict[str, Any] = {
            "num_workers": workers,
            "multiprocessing_context": loader_server.CONTEXT,
            "worker_init_fn": _settle,
            "persistent_workers": True,
        }
        super().__init__(
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            pin_memory=pin_memory,
            **several if workers else {},
        )

    def __iter__(self) -> Any:
        with signals.withheld():
            return super().__iter__()


def _settle(worker: int) -> None:
    signals.heed_parent()
