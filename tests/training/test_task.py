"""Training and validation of `SegmentationTask`. Validation is computed per case."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from kitsseg.data.case import Case
from kitsseg.data.slices.datamodule import SliceDataModule
from kitsseg.models.unet import UNet
from kitsseg.training.callbacks.learning_curve import LearningCurve
from kitsseg.training.final_evaluation import score_case
from kitsseg.training.losses import DiceCrossEntropy, SliceMean, SorensenDice
from kitsseg.training.schedules import polynomial, warmup_cosine
from kitsseg.training.task import SegmentationTask
from tests.helpers.parts import make_data, make_task


def trainer(**options: object) -> pl.Trainer:
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    settings = {"accelerator": "cpu", "num_sanity_val_steps": 0, "use_distributed_sampler": False}
    return pl.Trainer(**{**quiet, **settings, **options})  # type: ignore[arg-type]


def net() -> UNet:
    torch.manual_seed(1)
    return UNet(width=4, depth=2)


@pytest.fixture
def root(block_cases: list[Case]) -> Path:
    return block_cases[0].image.parent.parent


def figures(root: Path, tmp_path: Path, **options: object) -> dict[str, float]:
    data = make_data(root, tmp_path, **options)
    task = make_task(net(), loss=DiceCrossEntropy())
    return trainer().validate(task, data, verbose=False)[0]


def test_validation_does_not_depend_on_batch_size_or_workers(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = figures(root, tmp_path)
    assert figures(root, tmp_path, workers=2) == expected
    for size in (1, 4):
        monkeypatch.setattr(SliceDataModule, "validation_batch", size)
        assert figures(root, tmp_path, batch_size=size) == pytest.approx(expected, rel=1e-5)


def test_metrics_equal_those_of_whole_cases(root: Path, tmp_path: Path) -> None:
    data, model = make_data(root, tmp_path), net().eval()
    task, loss = make_task(model).eval(), SorensenDice()
    losses, scores = [], []
    for case in data.split.validation:
        number = data.store.ids.index(case)
        image = torch.from_numpy(np.array(data.store.images(number)))[:, None]
        label = torch.from_numpy(np.array(data.store.labels(number)))
        with torch.no_grad():
            logits = task(image)
        losses.append(loss(logits, label).item())
        scores.append(score_case(logits.argmax(1).to(torch.uint8).numpy(), label.numpy())["dice"])
    out = trainer().validate(make_task(model), data, verbose=False)[0]
    assert out["val/loss"] == pytest.approx(np.mean(losses), abs=1e-6)
    for region in ("kidney", "tumour", "kidney_label"):
        assert out[f"val/{region}_dice"] == pytest.approx(np.mean([s[region] for s in scores]))


def test_validation_sees_every_slice_once(root: Path, tmp_path: Path) -> None:
    data = make_data(root, tmp_path)
    rows = [row for batch in data.val_dataloader() for row in batch["row"].tolist()]
    assert sorted(rows) == data.validation_rows.tolist()
    assert len(rows) == 6 * len(data.split.validation)


def test_plateau_follows_the_validation_loss(root: Path, tmp_path: Path) -> None:
    """A loss never improves by 1000 %, so each of three epochs reduces the rate."""
    reduce = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, factor=0.1, patience=0, threshold=10.0)
    task = make_task(net(), scheduler=reduce, lr=1e-3)
    run = trainer(max_epochs=3)
    run.fit(task, datamodule=make_data(root, tmp_path))
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-6)


def test_plateau_works_with_infrequent_validation(root: Path, tmp_path: Path) -> None:
    task = make_task(net())
    trainer(max_epochs=4, check_val_every_n_epoch=2).fit(task, datamodule=make_data(root, tmp_path))
    assert task.trainer.callback_metrics["val/loss"] > 0


def test_a_schedule_over_all_steps_is_stepped_every_batch(root: Path, tmp_path: Path) -> None:
    task = make_task(net(), scheduler=partial(warmup_cosine, warmup=0.5))
    run = trainer(max_epochs=2)
    run.fit(task, datamodule=make_data(root, tmp_path))
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_polynomial_decay_follows_a_resumed_run(root: Path, tmp_path: Path) -> None:
    """PolynomialLR stores its number of epochs, so added epochs would have a rate of 0."""
    data, make = make_data(root, tmp_path), partial(make_task, scheduler=polynomial, lr=1e-3)
    run = trainer(max_epochs=2)
    run.fit(make(net()), datamodule=data)
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)
    run.save_checkpoint(tmp_path / "last.ckpt")
    rates: list[float] = []

    class Note(pl.Callback):
        def on_train_batch_end(self, trainer, *_: object) -> None:  # type: ignore[no-untyped-def]
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    longer = trainer(max_epochs=4, callbacks=[Note()])
    longer.fit(make(net()), datamodule=data, ckpt_path=tmp_path / "last.ckpt", weights_only=False)
    steps = 2 * run.global_step
    left = [1 - (step + 1) / steps for step in range(run.global_step, steps)]
    assert rates == pytest.approx([1e-3 * each**0.9 for each in left], abs=1e-9)


class Noting(torch.optim.lr_scheduler.ReduceLROnPlateau):
    seen: list[float] = []

    def step(self, metrics: Any, epoch: Any = None) -> None:
        self.seen.append(float(metrics))


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_a_plateau_of_a_subclass_follows_its_own_monitor(
    interval: str, root: Path, tmp_path: Path
) -> None:
    class Own(SegmentationTask):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters())
            plateau = {"scheduler": Noting(optimizer), "monitor": "val/kidney_dice", "strict": False}
            return [optimizer], [plateau | {"interval": interval, "frequency": 2}]

    class Dice(pl.Callback):
        def on_validation_end(self, trainer, module) -> None:  # type: ignore[no-untyped-def]
            dice.append(float(trainer.callback_metrics["val/kidney_dice"]))

    dice: list[float] = []
    Noting.seen.clear()
    run = trainer(max_epochs=4, callbacks=[Dice()], limit_train_batches=1 if interval == "epoch" else 2)
    run.fit(Own(net()), datamodule=make_data(root, tmp_path))
    assert Noting.seen == (dice[1::2] if interval == "epoch" else dice)


def test_a_subclass_needs_no_scheduler_and_may_step_it_every_other_epoch(
    root: Path, tmp_path: Path
) -> None:
    class Plain(SegmentationTask):
        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    class Steps(SegmentationTask):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters(), lr=1e-3)
            steps = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1)
            return [optimizer], [{"scheduler": steps, "frequency": 2}]

    for task, rate in ((Plain(net()), 1e-3), (Steps(net()), 1e-5)):
        run = trainer(max_epochs=5)
        run.fit(task, datamodule=make_data(root, tmp_path))
        assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(rate)


def test_a_schedule_of_epochs_is_stepped_once_in_a_resumed_epoch(root: Path, tmp_path: Path) -> None:
    def fit(steps: int, resume: Path | None = None) -> pl.Trainer:
        saved = ModelCheckpoint(tmp_path, filename=str(steps), save_on_train_epoch_end=True)
        run = trainer(max_steps=steps, callbacks=[curve, saved], enable_checkpointing=True)
        task = make_task(net(), scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=1))
        run.fit(task, datamodule=make_data(root, tmp_path), ckpt_path=resume, weights_only=False)
        return run

    curve = LearningCurve()
    batches = int(fit(4).num_training_batches)
    assert 1 < batches < 4 and 4 % batches  # the second epoch is incomplete
    fit(3 * batches, tmp_path / "4.ckpt")
    assert [row["lr"] for row in curve.epochs] == pytest.approx([1e-3, 1e-4, 1e-5])


@pytest.mark.parametrize(
    ("scheduler", "text"),
    [
        (polynomial, "needs the number of steps; set max_epochs or max_steps"),
        (partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max"), "set scheduler.mode=min"),
    ],
)
def test_a_schedule_that_cannot_work_is_refused(
    scheduler: Any, text: str, root: Path, tmp_path: Path
) -> None:
    task, data = make_task(net(), scheduler=scheduler), make_data(root, tmp_path)
    with pytest.raises(ValueError, match=text):
        trainer(max_epochs=-1, max_time={"seconds": 30}).fit(task, datamodule=data)


def test_outputs_of_an_interrupted_validation_are_dropped(root: Path, tmp_path: Path) -> None:
    data, task = make_data(root, tmp_path), make_task(net())
    trainer().validate(task, datamodule=data, verbose=False)
    expected = float(task.trainer.callback_metrics["val/loss"])
    batch = next(iter(data.val_dataloader()))
    task.eval()
    with torch.no_grad():
        task.validation_step({**batch, "image": -batch["image"]}, 0)
    task.train()
    trainer().validate(task, datamodule=data, verbose=False)
    assert float(task.trainer.callback_metrics["val/loss"]) == expected


def test_a_loss_of_torch_is_refused() -> None:
    with pytest.raises(ValueError, match="CrossEntropyLoss does not compute sums over slices"):
        SegmentationTask(net(), torch.nn.CrossEntropyLoss())  # type: ignore[arg-type]


class LearnedWeight(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.log_variance = torch.nn.Parameter(torch.zeros(()))
        self.fixed = torch.nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        entropy = torch.nn.functional.cross_entropy(logits, target)
        return entropy * torch.exp(-self.log_variance) + self.log_variance * self.fixed


def test_parameters_of_a_loss_are_trained(root: Path, tmp_path: Path) -> None:
    loss = LearnedWeight()
    task = make_task(net(), loss=SliceMean(loss))
    trainer(max_epochs=1).fit(task, datamodule=make_data(root, tmp_path))
    assert loss.log_variance != 0 and loss.fixed == 1


def test_nan_loss_ends_the_run(root: Path, tmp_path: Path) -> None:
    broken = net()
    with torch.no_grad():
        broken.head.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="val/loss is nan after epoch 1; .*optimizer.lr"):
        trainer(max_epochs=2).fit(make_task(broken), datamodule=make_data(root, tmp_path))


def test_training_learns(root: Path, tmp_path: Path) -> None:
    task = make_task(net(), lr=1e-2)
    run = trainer(max_epochs=25)
    run.fit(task, datamodule=make_data(root, tmp_path, background_keep=1.0))
    assert run.callback_metrics["val/kidney_dice"] > 0.8


def test_neighbours_are_the_adjacent_slices(root: Path, tmp_path: Path) -> None:
    data = make_data(root, tmp_path, neighbours=1)
    batch = next(iter(data.val_dataloader()))
    volume = data.store.images(int(batch["case"][0]))
    assert batch["image"].shape == (6, 3, 64, 64)
    for z, around in enumerate([(0, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 5)]):
        assert np.array_equal(batch["image"][z], volume[list(around)])
