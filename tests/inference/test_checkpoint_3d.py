"""Tests of checkpoints and exports of 3D networks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kitsseg.inference import checkpoint, export_formats
from kitsseg.inference.segmenter import Segmenter
from kitsseg.models.unet import AttentionUNet
from kitsseg.models.window import Window
from tests.inference.test_segmenter import trained

WINDOW = Window(-79, 304, 101, 76.9)
PATCH, SPACING = (8, 16, 16), (2.0, 1.0, 1.0)
ARGUMENTS: dict[str, Any] = {"width": 4, "depth": 2, "dims": 3, "strides": [[1, 2, 2], [2, 2, 2]]}
NETWORK = {"_target_": "kitsseg.models.unet.AttentionUNet", **ARGUMENTS}


def trained3d(path: Path, patch: tuple[int, int, int] = PATCH, **changes: Any) -> Path:
    """A checkpoint of a 3D network that knows nothing, but sees all classes about as often."""
    torch.manual_seed(0)
    net = AttentionUNet(**ARGUMENTS).eval()
    with torch.no_grad():
        logits = net(WINDOW(torch.randn(1, 1, 16, 32, 32) * 50))
        net.head.bias -= logits.mean(dim=(0, 2, 3, 4))
    header = checkpoint.header(NETWORK, WINDOW, None, 0, {}, patch=patch, spacing_mm=SPACING) | changes
    state = {f"net.{k}": v for k, v in net.state_dict().items()}
    torch.save({"state_dict": state, "kitsseg": header}, path)
    return path


def volume() -> np.ndarray:
    return np.random.default_rng(0).integers(-200, 300, (30, 40, 44)).astype(np.int16)


def test_patch_and_spacing_come_back(tmp_path: Path) -> None:
    loaded = checkpoint.load(trained3d(tmp_path / "x.ckpt"))
    assert (loaded.patch, loaded.spacing_mm) == (PATCH, SPACING)
    assert (loaded.size, loaded.neighbours, loaded.net.training) == (None, 0, False)
    assert loaded.net(torch.zeros(2, 1, *PATCH)).shape == (2, 3, *PATCH)
    flat = checkpoint.load(trained(tmp_path / "y.ckpt", 64))
    assert (flat.patch, flat.spacing_mm) == (None, None)
    assert checkpoint.load(trained3d(tmp_path / "z.ckpt", spacing_mm=None)).spacing_mm is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"patch": [9, 16, 16]}, "AttentionUNet cannot be applied to"),
        (
            {"patch": None},
            r"spacing_mm=.2.0, 1.0, 1.0.: must be three numbers .* of a 3D network, or None",
        ),
        ({"patch": None, "spacing_mm": None}, "AttentionUNet cannot be applied to"),
        ({"interpolation": "nearest"}, "interpolation='nearest': must be linear or cubic"),
        ({"size": 64}, "patch=.8, 16, 16.: a 3D network has size=None and neighbours=0"),
        ({"neighbours": 1}, "patch=.*: a 3D network has size=None and neighbours=0"),
        ({"classes": ["background", "kidney"]}, "classes=.* must be"),
    ],
)
def test_a_description_that_does_not_fit_the_network_is_refused(
    tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    path = trained3d(tmp_path / "x.ckpt", **changes)
    with pytest.raises(ValueError, match=f"x.ckpt: {text}") as refusal:
        checkpoint.load(path)
    assert "\n" not in str(refusal.value)


def test_its_exports_give_the_same_logits_and_labels(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = trained3d(tmp_path / "x.ckpt", interpolation="cubic")
    loaded = checkpoint.load(path)
    assert export_formats.export_onnx(loaded, tmp_path / "x.onnx") < 1e-4
    assert export_formats.export_program(loaded, tmp_path / "x.pt2") < 1e-4
    exported = export_formats.load_onnx(tmp_path / "x.onnx")
    assert (exported.patch, exported.spacing_mm) == (PATCH, SPACING)
    assert exported.interpolation == loaded.interpolation == "cubic"
    image = torch.randn(3, 1, *PATCH, generator=torch.Generator().manual_seed(0)) * 300
    wanted = loaded.net(loaded.window(image))
    program = torch.export.load(tmp_path / "x.pt2").module()
    for found in (exported.net(image), program(image)):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    both = [Segmenter.load(p, device="cpu", precision="32-true") for p in (path, tmp_path / "x.onnx")]
    labels = [each(volume(), (2, 1, 1)) for each in both]
    assert np.bincount(labels[0].ravel(), minlength=3).min() > 100
    assert (labels[0] != labels[1]).mean() < 1e-4
