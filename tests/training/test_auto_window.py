"""`AutoWindow` in plain Lightning scripts: fitted from the training cases only."""

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from kitsseg import AutoWindow, SegmentationTask, Segmenter, Window
from kitsseg.data.slices.datamodule import SliceDataModule
from kitsseg.data.split import KFold
from kitsseg.inference import checkpoint
from kitsseg.models.unet import UNet
from tests.conftest import blocky, write_case
from tests.helpers.parts import make_data
from tests.training.test_plain_trainer import trainer


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cases of different HU and size; one of them has no foreground."""
    folder = tmp_path_factory.mktemp("raw")
    for number in range(4):
        image, label = blocky(number, 6 + number)
        label[:, :, 30:34] = 2 if number else 0
        write_case(folder, number, image + np.int16(40 * number), label * (number != 2))
    return folder


def expected(data: SliceDataModule) -> Window:
    """Compute the window from the files of the training cases, as nnU-Net does."""
    pairs = [(data.cases[i].image, data.cases[i].label) for i in data.split.train]
    voxels = [(np.asarray(nib.load(path).dataobj) for path in pair) for pair in pairs]
    hu = np.concatenate([image[label > 0] for image, label in voxels])
    return Window(*map(float, [*np.percentile(hu, [0.5, 99.5]), np.mean(hu), np.std(hu)]))


@pytest.mark.parametrize("size", [None, 32])
def test_values_are_those_of_the_voxels_of_the_training_cases(
    root: Path, tmp_path: Path, size: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kitsseg")
    given, found = AutoWindow(), []
    for fold in range(2):  # a window that is used in two folds
        data = make_data(root, tmp_path / "prepared", size=size)
        data.split = KFold(2, fold)(list(data.cases.values()))
        task = SegmentationTask(UNet(width=4, depth=2), window=given)
        saved = ModelCheckpoint(tmp_path, filename=str(fold), monitor="val/loss")
        runner = trainer(tmp_path, max_epochs=1, callbacks=[saved])
        runner.fit(task, datamodule=data)
        runner.validate(task, datamodule=data, verbose=False)
        wanted = expected(data).settings()
        assert task.window.settings() == pytest.approx(wanted, rel=1e-12)
        stored = torch.load(tmp_path / f"{fold}.ckpt", weights_only=True)["kitsseg"]["window"]
        assert stored == task.window.settings()
        loaded = SegmentationTask.load_from_checkpoint(tmp_path / f"{fold}.ckpt")
        assert type(loaded.window) is Window and loaded.window.settings() == stored
        assert Segmenter.load(tmp_path / f"{fold}.ckpt", device="cpu")(blocky(0)[0]).shape == (6, 64, 64)
        found.append(stored)
        (line,) = (message for message in caplog.messages if "low_hu" in message)
        assert line.startswith(
            f"window of the foreground of 2 training cases: low_hu={wanted['low_hu']:.6g}"
        )
        caplog.clear()
    assert found[0] != found[1] and not given.is_fitted


def test_a_fitted_window_and_that_of_a_checkpoint_are_kept(root: Path, tmp_path: Path) -> None:
    data, fitted = make_data(root, tmp_path), AutoWindow().fit([0, 100], [1, 1])
    task = SegmentationTask(UNet(width=4, depth=2), window=fitted)
    runner = trainer(tmp_path, max_epochs=1, enable_checkpointing=False)
    runner.fit(task, datamodule=data)
    assert task.window is fitted and fitted.settings()["high_hu"] == 99.5
    runner.save_checkpoint(tmp_path / "x.ckpt")
    loaded = SegmentationTask.load_from_checkpoint(tmp_path / "x.ckpt")
    trainer(tmp_path, max_epochs=1).fit(loaded, datamodule=data)
    assert loaded.window.settings() == checkpoint.load(tmp_path / "x.ckpt").window.settings()


def test_loaders_without_a_data_module_need_a_fitted_window(root: Path, tmp_path: Path) -> None:
    data, options = make_data(root, tmp_path), {"max_epochs": 1, "enable_checkpointing": False}
    loaders = data.train_dataloader(), data.val_dataloader()
    with pytest.raises(ValueError, match=r"AutoWindow is not fitted; call fit\(\)"):
        task = SegmentationTask(UNet(width=4, depth=2), window=AutoWindow())
        trainer(tmp_path, **options).fit(task, *loaders)
    window = AutoWindow().fit(*data.store.foreground_hu(data.split.train))
    task = SegmentationTask(UNet(width=4, depth=2), window=window)
    trainer(tmp_path, **options).fit(task, *loaders)
