"""A checkpoint says what it is, loads anywhere, and runs nothing of a stranger's."""

import os
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from kitsseg import checkpoint
from kitsseg.data.kits19 import Case
from kitsseg.models.unet import AttentionUNet
from kitsseg.window import Window
from tests.parts import make_data, make_task

NETWORK = {"_target_": "kitsseg.models.unet.AttentionUNet", "width": 4, "depth": 2}
WINDOW = Window(-79, 304, 101, 76.9)


@pytest.fixture(scope="module")
def trained(
    block_cases: list[Case], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, AttentionUNet]:
    """A checkpoint that Lightning wrote in training, and the network at that moment."""
    folder = tmp_path_factory.mktemp("checkpoint")
    net = AttentionUNet(width=4, depth=2)
    about = checkpoint.header(NETWORK, WINDOW, 64, 0, {"commit": "abc"})
    keep = pl.callbacks.ModelCheckpoint(folder, "best", monitor="val/loss", save_last=True)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, callbacks=[keep], num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = make_data(block_cases[0].image.parent.parent, folder)
    trainer.fit(make_task(net, header=about), datamodule=data)
    return folder / "best.ckpt", net


def test_it_is_all_that_is_needed(trained: tuple[Path, AttentionUNet]) -> None:
    path, net = trained
    loaded = checkpoint.load(path)
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.net(image), net.eval()(image))
    assert loaded.window.settings() == WINDOW.settings()
    assert loaded.size == 64 and loaded.provenance == {"commit": "abc"}
    assert not loaded.net.training


def test_best_and_last_hold_plain_containers_only(trained: tuple[Path, AttentionUNet]) -> None:
    for name in ("best", "last"):
        held = torch.load(trained[0].with_name(f"{name}.ckpt"), weights_only=True)
        assert held["kitsseg"]["network"] == NETWORK
        assert held["kitsseg"]["classes"] == ["background", "kidney", "tumour"]


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch run-by-checkpoint",)


@pytest.mark.parametrize(
    ("about", "text"),
    [
        (None, "lacks kitsseg's description"),
        ({"format": 99}, "lacks kitsseg's description of format 1"),
        ({"format": 1, "network": {"_target_": "os.system", "command": "x"}}, "wants to build os"),
        (
            {"format": 1, "network": {**NETWORK, "norm": {"_target_": "os.system"}}},
            "wants to build kitsseg.models.unet.AttentionUNet",
        ),
    ],
)
def test_foreign_descriptions_are_refused(tmp_path: Path, about: object, text: str) -> None:
    torch.save({"state_dict": {}, "kitsseg": about}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=text):
        checkpoint.load(tmp_path / "x.ckpt")


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "evil": Evil()}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="is not a checkpoint that can be loaded"):
        checkpoint.load(tmp_path / "x.ckpt")
    assert not (tmp_path / "run-by-checkpoint").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_damaged_files_get_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match="x.ckpt: is not a checkpoint") as refusal:
        checkpoint.load(tmp_path / "x.ckpt")
    assert "\n" not in str(refusal.value)
