"""From cases to batches: who trains, who validates, what an epoch sees, and refusals."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from kitsseg.data.slices.augment import Augmentation, NoiseHU
from kitsseg.data.slices.datamodule import SliceDataModule, default_workers
from kitsseg.data.sources.kits import Kits19
from kitsseg.data.split import Seeded
from kitsseg.models.unet import UNet
from tests.conftest import blocky, write_case
from tests.helpers.parts import make_data, make_task


def test_slices_of_a_patient_never_part(blocks: Path, tmp_path: Path) -> None:
    data = make_data(blocks, tmp_path, background_keep=1.0)
    case = data.store.index.case
    assert not set(case[data.train_rows]) & set(case[data.validation_rows])
    assert len(data.train_rows) + len(data.validation_rows) == 36
    assert set(data.rows(0)) == set(data.train_rows)


def test_background_is_drawn_once_or_anew(blocks: Path, tmp_path: Path) -> None:
    once, anew = (
        [
            set(make_data(blocks, tmp_path, background_keep=0.5, redraw_background=r).rows(e))
            for e in range(4)
        ]
        for r in (False, True)
    )
    assert all(rows == once[0] for rows in once)
    assert len({frozenset(rows) for rows in anew}) > 1
    assert {len(rows) for rows in once + anew} == {
        12 + 6
    }  # 4 cases: 3 of 6 slices each, half of the rest


class Watching(pl.LightningModule):
    """Trains nothing, and keeps what it is given: epoch, rows and images."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[int, list[tuple[int, bytes]]] = {}

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        images = [image.numpy().tobytes() for image in batch["image"]]
        pairs = zip(batch["row"].tolist(), images, strict=True)
        self.seen.setdefault(self.current_epoch, []).extend(pairs)
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("workers", [0, 1])
def test_in_a_trainer_every_epoch_is_another(blocks: Path, tmp_path: Path, workers: int) -> None:
    """Lightning tells samplers the epoch, not batch samplers: all epochs would be the first."""
    noise = Augmentation([NoiseHU(sd_hu=(50, 50), p=1)])
    settings: dict[str, Any] = {"background_keep": 0.5, "redraw_background": True, "batch_size": 3}
    data = make_data(blocks, tmp_path, workers=workers, **settings)
    data.augmentation = noise
    watching = Watching()
    trainer = pl.Trainer(
        max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False, limit_val_batches=0,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(watching, datamodule=data)
    epochs = [watching.seen[epoch] for epoch in range(4)]
    orders = [[row for row, _ in epoch] for epoch in epochs]
    assert [sorted(order) for order in orders] == [data.rows(epoch).tolist() for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 4  # shuffled anew
    assert len({tuple(sorted(order)) for order in orders}) > 1  # background drawn anew
    images = [image for epoch in epochs for _, image in epoch]
    assert len(set(images)) == len(images)  # augmented anew


def test_the_seed_of_the_run_decides(blocks: Path, tmp_path: Path) -> None:
    rows = [make_data(blocks, tmp_path, background_keep=0.5, seed=s).rows(0) for s in (0, 0, 1)]
    assert np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[0], rows[2])


def test_excluded_cases_are_nowhere(blocks: Path, tmp_path: Path) -> None:
    data = make_data(blocks, tmp_path, exclude=["case_00001"])
    assert "case_00001" not in data.split.train + data.split.validation
    assert len(data.store.ids) == 5
    with pytest.raises(ValueError, match=r"data.exclude=\['case_00099'\]: data.root has no such cases"):
        make_data(blocks, tmp_path, exclude=["case_00099"])
    with pytest.raises(ValueError, match=r"data.exclude: excludes all 6 cases"):
        make_data(blocks, tmp_path, exclude=[f"case_{number:05d}" for number in range(6)])


def test_slices_of_different_sizes_share_a_batch(tmp_path: Path) -> None:
    for number, width in enumerate((64, 64, 100, 40)):
        write_case(tmp_path / "raw", number, *blocky(number, width=max(width, 40)))
    data = make_data(tmp_path / "raw", tmp_path / "store", background_keep=1.0, batch_size=18)
    (batch,) = data.train_dataloader()
    widths = {data.store.images(c).shape[2] for c in batch["case"].tolist()}
    assert len(widths) > 1 and batch["image"].shape[3] % 32 == 0
    for image, label, row in zip(batch["image"], batch["label"], batch["row"], strict=True):
        case, z = data.store.index.case[row], data.store.index.z[row]
        stored = data.store.images(case)[z]
        h, w = stored.shape
        assert np.array_equal(image[0, :h, :w], stored)
        assert (image[0, :, w:] == -1024).all() and (label[:, w:] == 0).all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 100}, "size=100: must be null or a multiple of 32"),
        ({"size": 0}, "size=0: must be null or a multiple of 32, at least 32"),
        ({"batch_size": 0}, "batch_size=0: must be at least 1"),
        ({"workers": -1}, "workers=-1: must be at least 0"),
        ({"background_keep": 2.0}, r"background_keep=2.0: must be between 0 and 1"),
        ({"neighbours": -1}, "neighbours=-1: must be at least 0"),
        ({"target_repeat": 0}, "target_repeat=0: must be at least 1"),
    ],
)
def test_ranges(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        SliceDataModule("x", Kits19(), Seeded(), Augmentation([]), "y", **options)  # type: ignore[arg-type]


def test_no_tumour_to_fine_tune_on(tmp_path: Path) -> None:
    for number in range(3):
        image, label = blocky(number)
        write_case(tmp_path / "raw", number, image, np.minimum(label, 1))
    data = make_data(tmp_path / "raw", tmp_path / "store")
    with pytest.raises(ValueError, match="no training slice contains tumour; use finetune=none"):
        data.for_target_slices()


def test_a_trainer_prepares_and_sets_up_by_itself(blocks: Path, tmp_path: Path) -> None:
    data = SliceDataModule(blocks, Kits19(), Seeded(0.33), Augmentation([]), tmp_path)
    with pytest.raises(ValueError, match=r"case_00000 is not prepared; call prepare_data\(\)"):
        data.setup()
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    task = make_task(UNet(width=4, depth=2))
    trainer.fit(task, datamodule=data)
    assert trainer.global_step > 0 and "val/tumour_dice" in trainer.callback_metrics
    store = data.store
    trainer.validate(task, datamodule=data, verbose=False)
    assert data.store is store


def test_cases_that_cannot_be_used_are_left_out_if_asked(blocks: Path, tmp_path: Path) -> None:
    shutil.copytree(blocks, tmp_path / "raw")
    (tmp_path / "raw/case_00002/imaging.nii.gz").write_bytes(b"no NIfTI")
    with pytest.raises(ValueError, match="case_00002"):
        make_data(tmp_path / "raw", tmp_path / "store")
    data = make_data(tmp_path / "raw", tmp_path / "store", skip_bad=True)
    assert "case_00002" not in data.store.ids and len(data.store.ids) == 5


@pytest.mark.parametrize(
    ("cores", "ranks", "expected"), [(2, "1", 0), (4, "1", 3), (64, "1", 8), (16, "4", 3), (2, "2", 0)]
)
def test_loader_processes_by_the_machines_processors(
    monkeypatch: pytest.MonkeyPatch, cores: int, ranks: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert default_workers() == expected


def test_epochs_differ_in_a_loop_without_a_trainer(blocks: Path, tmp_path: Path) -> None:
    augmentation = Augmentation([NoiseHU(sd_hu=(20, 20), p=1)])
    data = make_data(blocks, tmp_path, background_keep=1.0, augmentation=augmentation)
    loader = data.train_dataloader()
    first, second = (torch.cat([batch["image"] for batch in loader]) for _ in range(2))
    assert not torch.equal(first, second)
    again = torch.cat([batch["image"] for batch in data.train_dataloader()])
    assert torch.equal(first, again)
