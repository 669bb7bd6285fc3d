"""Tests of checkpoints: content, loading, and files that must be refused."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from kitsseg.data.case import Case
from kitsseg.data.labels import KITS19
from kitsseg.inference import checkpoint
from kitsseg.models.unet import AttentionUNet, UNet
from kitsseg.models.window import Window
from tests.helpers.parts import make_data, make_task

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


def describe(**changes: Any) -> dict[str, Any]:
    """A description that's right but for ``changes``."""
    return checkpoint.header(NETWORK, WINDOW, 64, 0, {}) | changes


def save(path: Path, about: object, state: dict[str, Any] | None = None) -> Path:
    net = AttentionUNet(width=4, depth=2)
    state = {f"net.{k}": v for k, v in net.state_dict().items()} if state is None else state
    torch.save({"state_dict": state, "kitsseg": about}, path)
    return path


def network(target: object, **arguments: Any) -> dict[str, Any]:
    return describe(network={"_target_": target, **arguments})


@pytest.mark.parametrize(
    ("about", "text"),
    [
        (None, "no description of format"),
        ([], "no description of format"),
        ({"format": 99}, "no description of format 1"),
        ({"format": 1}, "the description lacks classes, neighbours, network, provenance, size, win"),
        (
            network("os.system", command="x"),
            "network os.system with .*not allowed; allowed are kitsseg.mode",
        ),
        (network("monai.networks.nets.HoVerNet", pretrained_url="http://x"), "is not allowed"),
        (network("monai.networks.nets.swin_unetr.optional_import", module="os"), "is not allowed"),
        (network("kitsseg.models.unet.check_input"), "is not a network"),
        (network("kitsseg.models.unet.torch.nn.Linear"), "unet.torch.nn.Linear cannot be imported"),
        (network("kitsseg.models.unet.nn"), "is not a network"),
        (network("kitsseg.models.blocks.Tensor"), "is not a network"),
        (network("kitsseg.models."), "cannot be imported"),
        (network(["os.system"]), "is not allowed"),
        (describe(network=7), "network .none. with"),
        (network(NETWORK["_target_"], norm={"_target_": "os.system"}), "is not allowed"),
        (network(NETWORK["_target_"], norm={"a": [{"_partial_": True}]}), "is not allowed"),
        (network(NETWORK["_target_"], width=10**9), "is not allowed"),
        (network(NETWORK["_target_"], depth=10000), "cannot be built"),
        (network(NETWORK["_target_"], width=8, depth=2), "is torch.float32 .*; AttentionUNet expects"),
        (network(NETWORK["_target_"], width=4, depth=3), "the weights do not match Attention"),
        (network(NETWORK["_target_"], wide=4), "cannot be built .*wide"),
        (describe(size=-1), r"size=-1: must be in \[32, 4096\]"),
        (describe(size="64"), "size='64': must be in"),
        (describe(neighbours=10**6), "neighbours=1000000: must be in"),
        (describe(neighbours=1), "cannot be applied to"),
        (describe(classes=["background", "cat"]), "classes=.*cat.* must be"),
        (describe(window={"low_hu": 0}), "not the arguments of Window"),
        (describe(window={**WINDOW.settings(), "sd_hu": float("nan")}), "must be finite numbers"),
        (describe(window={**WINDOW.settings(), "sd_hu": 10**400}), "must be finite numbers"),
        (describe(window={**WINDOW.settings(), "sd_hu": 0}), "sd_hu=0: must be above 0"),
        (describe(provenance=[]), "provenance must be a dict"),
        (
            describe(patch=[32, 32, 32]),
            "patch=.32, 32, 32.: a 3D network has size=None and neighbours=0",
        ),
        (describe(patch=[32, 32]), "patch=.32, 32.: must be three sides with at most 33554432 voxels"),
        (describe(patch=[32, 0, 32]), "patch=.*: must be three sides"),
        (describe(patch=[10**9] * 3), "patch=.*: must be three sides"),
        (describe(patch=["32"] * 3), "patch=.*: must be three sides"),
        (describe(size=None, patch=[32, 32, 32]), "cannot be applied to"),  # it is 2D
        (
            describe(spacing_mm=[1, 1, 1]),
            r"spacing_mm=.*: must be three numbers in \[0.1, 100\] of a 3D",
        ),
        (
            describe(size=None, patch=[32, 32, 32], spacing_mm=[1, 1, 0.01]),
            "spacing_mm=.1, 1, 0.01.: must be three numbers",
        ),
    ],
)
def test_foreign_descriptions_are_refused(tmp_path: Path, about: object, text: str) -> None:
    with pytest.raises(ValueError, match=f"x.ckpt: .*{text}") as refusal:
        checkpoint.load(save(tmp_path / "x.ckpt", about))
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 900


def test_a_network_of_ones_own_must_be_named(tmp_path: Path) -> None:
    net = torch.nn.Conv2d(1, 3, 1)
    about = network("torch.nn.Conv2d", in_channels=1, out_channels=3, kernel_size=1)
    path = save(tmp_path / "x.ckpt", about, {f"net.{k}": v for k, v in net.state_dict().items()})
    with pytest.raises(ValueError, match="network torch.nn.Conv2d .* is not allowed"):
        checkpoint.load(path)
    assert torch.equal(checkpoint.load(path, ["torch.nn.Conv2d"]).net.weight, net.weight)


def test_a_trusted_network_with_components_is_refused_with_the_reason(tmp_path: Path) -> None:
    about = network("torch.nn.Conv2d", padding={"_target_": "builtins.int"})
    path = save(tmp_path / "x.ckpt", about)
    with pytest.raises(ValueError, match="must be plain values, without components"):
        checkpoint.load(path, ["torch.nn.Conv2d"])


class Positions(torch.nn.Module):
    """Accepts one size only, as transformers with an embedding of positions do."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.positions = torch.nn.Parameter(torch.zeros(3, side, side))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image + self.positions


@pytest.mark.parametrize(("size", "accepted"), [(96, True), (64, False), (None, False)])
def test_a_network_for_the_size_of_its_training_is_accepted(
    tmp_path: Path, size: int | None, accepted: bool
) -> None:
    name = f"{__name__}.Positions"
    about = {**network(name, side=96), "size": size}
    path = save(tmp_path / "x.ckpt", about, {"net.positions": torch.zeros(3, 96, 96)})
    if accepted:
        assert checkpoint.load(path, [name]).size == size
    else:
        with pytest.raises(ValueError, match="Positions cannot be applied"):
            checkpoint.load(path, [name])


@pytest.mark.parametrize(
    ("weight", "text"),
    [
        (torch.full((3,), float("nan")), "head.bias has NaN or infinite values"),
        (torch.zeros(3).to_sparse(), "head.bias is not a dense tensor"),
        (torch.zeros(3, dtype=torch.int64), "head.bias is torch.int64"),
        ("zeros", "head.bias is not a dense tensor"),
    ],
)
def test_weights_that_cannot_be(tmp_path: Path, weight: object, text: str) -> None:
    state = {f"net.{k}": v for k, v in AttentionUNet(width=4, depth=2).state_dict().items()}
    path = save(tmp_path / "x.ckpt", describe(), state | {"net.head.bias": weight})
    with pytest.raises(ValueError, match=text):
        checkpoint.load(path)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch run-by-checkpoint",)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_file_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"state_dict": {}, "evil": Evil()}
    torch.save(content, tmp_path / "x.ckpt", _use_new_zipfile_serialization=not legacy)
    (tmp_path / "y.ckpt").write_bytes(pickle.dumps(content))
    for name in ("x", "y"):
        with pytest.raises(ValueError, match="objects other than tensors and plain values"):
            checkpoint.load(tmp_path / f"{name}.ckpt")
    assert not (tmp_path / "run-by-checkpoint").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_damaged_files_get_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match="x.ckpt: not a loadable checkpoint") as refusal:
        checkpoint.load(tmp_path / "x.ckpt")
    assert "\n" not in str(refusal.value)


def test_cut_or_scrambled_files_get_one_line(tmp_path: Path) -> None:
    """Wherever a file is cut, or its structure overwritten, it's a `ValueError` or still the same."""
    whole = save(tmp_path / "x.ckpt", describe()).read_bytes()
    rng = np.random.default_rng(0)
    versions = [whole[:n] for n in rng.integers(0, len(whole), 20)]
    ends = np.concatenate([np.arange(0, 3000), np.arange(len(whole) - 3000, len(whole))])
    for place in rng.choice(ends, 60):
        versions.append(whole[:place] + rng.bytes(8) + whole[place + 8 :])
    refused = 0
    for version in versions:
        (tmp_path / "y.ckpt").write_bytes(version)
        try:
            checkpoint.load(tmp_path / "y.ckpt")
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 40


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x.ckpt: No such file or directory$"):
        checkpoint.load(tmp_path / "x.ckpt")


class InTraining(torch.nn.Module):
    """Return other outputs in training mode than in evaluation mode."""

    def __init__(self, change: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.change = change

    def forward(self, image: torch.Tensor) -> object:
        logits = image.repeat(1, 3, 1, 1)
        return self.change(logits) if self.training else logits


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x: {"out": x}, "returns a dict in training mode"),
        (lambda x: torch.stack([x, x], 1), r"to \[2, 2, 3, 64, 64\] in training mode; kitsseg needs"),
        (lambda x: (x, x.repeat(1, 2, 1, 1)), r"\[2, 6, 64, 64\] in training mode, item 2 of 2"),
        (lambda x: [x[..., ::2, ::2], x], r"\[2, 3, 32, 32\] in training mode, item 1 of 2 from fine"),
        (
            lambda x: [x, x[..., :48, :48]],
            r"\[2, 3, 48, 48\] .*kitsseg needs \[2, 3, 64, 64\], or coarser",
        ),
        (lambda x: [x, None], "returns a list in training mode"),
    ],
)
def test_other_outputs_in_training_are_refused(
    change: Callable[[torch.Tensor], object], text: str
) -> None:
    checkpoint.check_output(InTraining(change), 0, KITS19, (64, 64))
    with pytest.raises(ValueError, match=f"InTraining .*{text}"):
        checkpoint.check_output(InTraining(change), 0, KITS19, (64, 64), in_training=True)


def test_logits_from_fine_to_coarse_are_accepted_in_training() -> None:
    net = UNet(width=4, depth=3, supervised=2)
    checkpoint.check_output(net, 0, KITS19, (64, 64), in_training=True)
    checkpoint.check_output(InTraining(lambda x: (x, x)), 0, KITS19, (64, 64), in_training=True)
