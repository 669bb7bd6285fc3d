"""A network with four classes: volumes, maps and pictures follow its labels."""

import csv
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
import torch

from kitsseg.data.case import Case
from kitsseg.data.drawing import HEADER, bgr
from kitsseg.data.labels import Labels
from kitsseg.evaluation.lesions import components
from kitsseg.inference import checkpoint
from kitsseg.inference.segmenter import Segmenter
from kitsseg.models.unet import UNet
from tests.data.test_labels import KITS23
from tests.helpers.predicting import predict
from tests.inference.test_segmenter import WINDOW, trained

LABELS = Labels(**KITS23)


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """A checkpoint of a network that sees all four classes about as often."""
    torch.manual_seed(0)
    net = UNet(classes=4, width=4, depth=2).eval()
    with torch.no_grad():
        net.head.bias -= net(WINDOW(torch.randn(1, 1, 64, 64) * 50)).mean(dim=(0, 2, 3))
    network = {"_target_": "kitsseg.models.unet.UNet", "classes": 4, "width": 4, "depth": 2}
    header = checkpoint.header(network, WINDOW, None, 0, {}, labels=LABELS)
    state = {f"net.{k}": v for k, v in net.state_dict().items()}
    torch.save({"state_dict": state, "kitsseg": header}, tmp_path / "four.ckpt")
    return tmp_path / "four.ckpt"


def test_predict_writes_one_volume_and_one_map_per_region(
    four: Path, block_cases: list[Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert predict(four, block_cases[0].image, out, "probabilities=true", "quicklook=true") == 0
    (label_path,) = out.glob("*.nii.gz")
    image = nib.load(label_path)
    label = np.asanyarray(image.dataobj)
    assert set(np.unique(label)) == {0, 1, 2, 3}
    (row,) = csv.DictReader((out / "volumes.csv").open())
    voxel_ml = abs(np.linalg.det(image.affine)) / 1000
    for region in LABELS.regions:
        assert float(row[f"{region}_ml"]) == pytest.approx(
            LABELS.mask(label, region).sum() * voxel_ml, abs=1e-3
        )
        (probability,) = (out / f"probability_{region}").glob("*.nii.gz")
        assert nib.load(probability).shape == label.shape
    assert "kidney_and_masses" in capsys.readouterr().out
    (picture,) = (out / "quicklook").glob("*.png")
    pixels = cv2.imread(str(picture))[HEADER:]
    assert all((pixels == bgr(LABELS, i)).all(axis=2).any() for i in (1, 2, 3))


def test_networks_with_other_labels_are_not_averaged(four: Path, tmp_path: Path) -> None:
    three = trained(tmp_path / "three.ckpt", None)
    with pytest.raises(ValueError, match="the networks have different classes or regions"):
        Segmenter.load([four, three], device="cpu")


def test_a_checkpoint_states_its_labels(four: Path) -> None:
    assert checkpoint.load(four).labels.as_dict() == LABELS.as_dict()
    content = torch.load(four, weights_only=True)
    content["kitsseg"]["labels"]["target"] = "liver"
    torch.save(content, four)
    with pytest.raises(ValueError, match="labels: target: liver must be one of"):
        checkpoint.load(four)


def test_rules_for_other_labels_are_refused_before_the_first_volume(
    four: Path, block_cases: list[Case], tmp_path: Path
) -> None:
    image, out = block_cases[0].image, tmp_path / "out"
    with pytest.raises(ValueError, match=r"^postprocess.regions.kidney: the labels have no such region"):
        predict(four, image, out, "postprocess=kidneys")
    assert not out.exists()
    remedy = ["postprocess=regions", "+postprocess.regions.kidney_and_masses.largest=1"]
    assert predict(four, image, out, *remedy) == 0
    label = np.asanyarray(nib.load(next(out.glob("*.nii.gz"))).dataobj)
    assert components(label > 0)[1].size == 2  # the outside and the largest component
