"""Tests that exported networks give the outputs of the originals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from kitsseg.config.validation import CONFIG_DIR
from kitsseg.export import run
from kitsseg.inference import checkpoint, export_formats
from kitsseg.inference.checkpoint import Loaded
from kitsseg.inference.segmenter import Segmenter
from kitsseg.models.unet import AttentionUNet
from tests.conftest import blocky
from tests.helpers.commands import find_problems
from tests.inference.test_segmenter import WINDOW, trained

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of a 2.5D network and both of its exports."""
    folder = tmp_path_factory.mktemp("export")
    path = trained(folder / "x.ckpt", 64, neighbours=1)
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        run(compose("export", [f"checkpoint={path}", f"output={folder}"]))
    return folder


def test_the_command_writes_both_and_nothing_else(exported: Path) -> None:
    assert sorted(p.name for p in exported.iterdir()) == ["x.ckpt", "x.onnx", "x.pt2"]


def test_onnx_gives_the_same_labels(exported: Path) -> None:
    image = blocky(0, slices=9, height=100, width=70)[0]
    both = [
        Segmenter.load(exported / name, (1,), device="cpu", precision="32-true")
        for name in ("x.ckpt", "x.onnx")
    ]
    assert [each.computed["runtime"] for each in both] == [["torch"], ["onnx"]]
    labels = [each(image) for each in both]
    assert np.bincount(labels[0].ravel(), minlength=3).min() > 100
    assert (labels[0] != labels[1]).mean() < 1e-4
    maps = [each.segment(image, (1, 1, 1), ("tumour",)).maps["tumour"].astype(int) for each in both]
    assert np.abs(maps[0] - maps[1]).max() <= 1


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (5, 3, 64, 96), (2, 3, 160, 32)])
def test_logits_of_any_shape(exported: Path, shape: tuple[int, ...]) -> None:
    loaded = checkpoint.load(exported / "x.ckpt")
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 300
    wanted = loaded.net(loaded.window(image))
    net = export_formats.load_onnx(exported / "x.onnx").net
    torch.testing.assert_close(net(image), wanted, rtol=1e-4, atol=1e-4)
    program = torch.export.load(exported / "x.pt2")
    torch.testing.assert_close(program.module()(image), wanted, rtol=1e-4, atol=1e-4)


def test_the_files_say_what_they_are(exported: Path) -> None:
    extra = {"kitsseg": ""}
    torch.export.load(exported / "x.pt2", extra_files=extra)
    model = onnx.load(exported / "x.onnx")
    onnx.checker.check_model(model)
    for text in (extra["kitsseg"], {p.key: p.value for p in model.metadata_props}["kitsseg"]):
        about = json.loads(text)
        assert (about["size"], about["neighbours"], about["classes"][2]) == (64, 1, "tumour")
    loaded = export_formats.load_onnx(exported / "x.onnx")
    assert (loaded.size, loaded.neighbours) == (64, 1)


def test_the_attention_unet(tmp_path: Path) -> None:
    torch.manual_seed(0)
    loaded = Loaded(AttentionUNet(width=4, depth=2).eval(), WINDOW, None, 0, {})
    assert export_formats.export_onnx(loaded, tmp_path / "a.onnx") < 1e-4
    assert export_formats.export_program(loaded, tmp_path / "a.pt2") < 1e-4


def change_about(**values: Any) -> Any:
    def change(model: Any) -> None:
        about = json.loads(model.metadata_props[0].value) | values
        model.metadata_props[0].value = json.dumps(about)

    return change


def lay_weights_elsewhere(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda model: model.ClearField("metadata_props"), "invalid metadata .no description of form"),
        (change_about(size=7), "invalid metadata"),
        (change_about(classes=["cat"]), "invalid metadata"),
        (change_about(neighbours=0), "cannot be run"),
        (lay_weights_elsewhere, "refers to other files"),
    ],
)
def test_foreign_onnx_files_are_refused(exported: Path, tmp_path: Path, change: Any, text: str) -> None:
    model = onnx.load(exported / "x.onnx")
    change(model)
    (tmp_path / "y.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=f"y.onnx: {text}") as refusal:
        Segmenter.load(tmp_path / "y.onnx")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("cut", [0, 10, 5000])
def test_damaged_onnx_files_get_one_line(exported: Path, tmp_path: Path, cut: int) -> None:
    (tmp_path / "y.onnx").write_bytes((exported / "x.onnx").read_bytes()[:cut])
    with pytest.raises(ValueError, match="y.onnx: ") as refusal:
        export_formats.load_onnx(tmp_path / "y.onnx")
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match="z.onnx: No such file"):
        export_formats.load_onnx(tmp_path / "z.onnx")


def test_an_export_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_formats, "TOLERANCE", -1)
    loaded = Loaded(AttentionUNet(width=2, depth=2).eval(), WINDOW, None, 0, {})
    for write, name in (
        (export_formats.export_onnx, "x.onnx"),
        (export_formats.export_program, "x.pt2"),
    ):
        with pytest.raises(ValueError, match="the exported network differs by"):
            write(loaded, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_mistakes_are_one_line() -> None:
    (found,) = find_problems("export", ["checkpoint=x", "output=y", "formats=[onx]"])
    assert found == "formats=['onx']: must contain one or both of onnx, pt2"
