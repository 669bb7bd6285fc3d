"""A training step reads no value from the device, so a GPU never waits for Python."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kitsseg.data.case import Case
from kitsseg.models.unet import AttentionUNet
from kitsseg.training.losses import DiceCrossEntropy, Loss, SorensenDice
from tests.helpers.parts import make_data, make_task
from tests.training.test_task import trainer

# Operations that read a value on the host, or whose output size depends on values.
WAITS = ("_local_scalar_dense", "nonzero", "unique", "masked_select", "equal")


class Waits(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.calls = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        name = op.overloadpacket.__name__
        if any(name.startswith(wait) for wait in WAITS):
            self.found.append(name)
        return op(*args, **(kwargs or {}))


class Watch(pl.Callback):
    """Record the operations of each batch: forward, loss, backward, step and logging."""

    def __init__(self) -> None:
        self.waits = Waits()

    def on_train_batch_start(self, *_: Any) -> None:
        self.waits.__enter__()

    def on_train_batch_end(self, *_: Any) -> None:
        self.waits.__exit__(None, None, None)


def watched(cases: list[Case], folder: Path, **options: Any) -> Waits:
    watch = Watch()
    task = make_task(AttentionUNet(width=4, depth=2), **options)
    fit = trainer(max_epochs=1, callbacks=[watch], precision="bf16-mixed")
    fit.fit(task, make_data(cases[0].image.parent.parent, folder))
    assert watch.waits.calls > 100
    return watch.waits


@pytest.mark.parametrize("loss", [SorensenDice(), DiceCrossEntropy()])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_training_step_does_not_synchronise(
    block_cases: list[Case], tmp_path: Path, loss: Loss, kind: type[torch.optim.Adam]
) -> None:
    optimizer = partial(kind, lr=0.001, fused=True)  # as in conf/optimizer
    assert watched(block_cases, tmp_path, loss=loss, optimizer=optimizer).found == []


def test_synchronisation_is_detected(block_cases: list[Case], tmp_path: Path) -> None:
    class Looks(SorensenDice):
        def terms(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            assert target.max() < 3
            return super().terms(logits, target)

    optimizer = partial(torch.optim.Adam, lr=0.001, fused=True)
    assert watched(block_cases, tmp_path, loss=Looks(), optimizer=optimizer).found
