import logging
from pathlib import Path

import pytest
import pytorch_lightning as pl

from kitsseg.data.case import Case
from kitsseg.models.unet import UNet
from kitsseg.training.callbacks.progress import EpochLine, fit_line
from tests.helpers.parts import make_data, make_task

PARTS = [
    "epoch 100/100, 1:03:15 left", "loss 0.557", "kidney 0.501, tumour 0.299", "val loss 0.559",
    "lr 1.0e-03", "24.4 s per epoch",
]  # fmt: skip


@pytest.mark.parametrize(("columns", "shown"), [(20, 3), (80, 3), (100, 4), (200, 6)])
def test_line_fits_into_the_terminal(columns: int, shown: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    line = fit_line(PARTS)
    assert line == " | ".join(PARTS[:shown])
    assert columns == 20 or len(f"12:34:56 {line}") <= columns


def test_line_of_an_epoch_without_validation_shows_no_earlier_metrics(
    block_cases: list[Case],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=3, check_val_every_n_epoch=2, callbacks=[EpochLine()], **options
    )
    data = make_data(block_cases[0].image.parent.parent, tmp_path)
    with caplog.at_level(logging.INFO, "kitsseg"):
        trainer.fit(make_task(UNet(width=4, depth=2)), datamodule=data)
    lines = [line for line in caplog.messages if line.startswith("epoch ")]
    assert ["val loss" in line for line in lines] == [False, True, False]
