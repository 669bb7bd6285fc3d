"""Tests on real KiTS19 slices and labels, in the folder ``KITSSEG_TEST_DATA``."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kitsseg.data.io.nifti.read import read_label
from kitsseg.data.sources.kits import Kits19
from kitsseg.data.sources.nnunet import NnUNet, read_labels
from kitsseg.data.sources.table import Table
from kitsseg.data.split import MLPerf42, Seeded
from kitsseg.data.store.prepare import prepare
from kitsseg.inference.slicewise import segment_stored
from kitsseg.models.window import Window
from kitsseg.training.final_evaluation import score_case
from tests.helpers.sources import nnunet, table

FOLDER = Path(os.environ.get("KITSSEG_TEST_DATA", "nowhere"))
pytestmark = pytest.mark.skipif(
    not (FOLDER / "kits19-real").is_dir(), reason="KITSSEG_TEST_DATA names no folder with kits19-real"
)


def test_every_real_case_is_prepared(tmp_path: Path) -> None:
    cases = Kits19().find(FOLDER / "kits19-real")
    store = prepare(cases, tmp_path, 256)
    assert len(cases) == 18 and len(store.index.z) == 38
    assert store.index.contains([2]).any() and store.index.foreground.all()
    wide = store.ids.index("case_00160")
    rows, cols = store.grid(wide).inside
    assert (cols.stop - cols.start, rows.stop - rows.start) == (256, 165)  # 796 x 512


@pytest.mark.parametrize("size", [128, 256, 512, None])
def test_dice_lost_by_resizing_is_small(tmp_path: Path, size: int | None) -> None:
    """The stored label, resampled to the original grid, has a Dice close to 1."""
    import torch
    from torch import nn

    class Oracle(nn.Module):
        """Perfect network: returns the stored label as logits."""

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            onehot = torch.nn.functional.one_hot(label[: len(image)].long(), 3).movedim(-1, 1).float()
            down, right = (image.shape[i] - onehot.shape[i] for i in (-2, -1))
            return torch.nn.functional.pad(onehot, (0, right, 0, down))

    cases = [c for c in Kits19().find(FOLDER / "kits19-real") if c.id in ("case_00160", "case_00042")]
    store = prepare(cases, tmp_path, size)
    for number, case in enumerate(cases):
        label = torch.from_numpy(np.array(store.labels(number)))
        out = segment_stored(
            Oracle(), Window(-79, 304, 101, 76.9), store.images(number), store.grid(number), 0, (),
            torch.device("cpu"), lambda: torch.inference_mode(),
        )  # fmt: skip
        truth = read_label(case.label)
        assert out.shape == truth.shape
        least = {128: 0.95, 256: 0.97, 512: 0.985, None: 1.0}[size]
        assert score_case(out, truth)["dice"]["kidney"] >= least


def test_sixty_cases_split_48_and_12() -> None:
    cases = Kits19().find(FOLDER / "kits19-sim")
    for split in (Seeded(), MLPerf42()):
        parts = split(cases)
        assert (len(parts.train), len(parts.validation)) == (48, 12)


@pytest.mark.parametrize("name", ["kits19-real", "kits19-sim"])
def test_predictions_have_the_grid_of_their_image(tmp_path: Path, name: str) -> None:
    """Also for 796 columns and for two slices, with an untrained network."""
    import nibabel as nib
    from hydra import compose, initialize_config_dir

    from kitsseg.config.validation import CONFIG_DIR
    from kitsseg.predict import run as predict
    from tests.inference.test_segmenter import trained

    path = trained(tmp_path / "x.ckpt", 64)
    given = [f"checkpoint={path}", f"input={FOLDER / name}", f"output={tmp_path / 'out'}"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        assert predict(compose("predict", [*given, "device=cpu", "cases=[0-12,160]"])) in (
            0,
            1,
        )  # some aren't there
    numbers = {*range(13), 160}
    cases = [c for c in Kits19().find(FOLDER / name) if int(c.id[5:]) in numbers]
    assert len(list((tmp_path / "out").glob("case_*.nii.gz"))) == len(cases)
    for case in cases:
        image, label = nib.load(case.image), nib.load(tmp_path / "out" / f"{case.id}.nii.gz")
        assert label.shape == image.shape and np.array_equal(label.affine, image.affine)
        assert label.get_data_dtype() == np.uint8 and np.asanyarray(label.dataobj).max() <= 2


@pytest.mark.skipif(not (FOLDER / "kits23-real").is_dir(), reason="there is no folder kits23-real")
@pytest.mark.parametrize("name", ["nnunet", "table"])
def test_kits23_in_other_layouts(tmp_path: Path, name: str) -> None:
    """With its cysts (3) as a class of their own."""
    names = {"background": 0, "kidney": 1, "tumour": 2, "cyst": 3}
    cases = [
        replace(case, label=case.image.with_name("segmentation_kits23.nii.gz"))
        for case in Kits19(numbers=["0-588"]).find(FOLDER / "kits23-real")
    ]
    root = nnunet(tmp_path / "nnunet", cases, labels=names)
    labels = read_labels(root, "tumour")
    if name == "table":
        root = table(
            tmp_path / "cases.csv", [[c.id, c.image, c.label, "p"] for c in cases], "id,image,label,x"
        )
    found = (NnUNet() if name == "nnunet" else Table()).find(root, labels)
    store = prepare(found, tmp_path / "store", 256, workers=2, labels=labels)
    pixels = store.index.pixels
    assert store.ids == [case.id for case in cases] and pixels.shape[1] == 4 and pixels.any(axis=0).all()
    official = [replace(case, label=case.image.with_name("segmentation.nii.gz")) for case in cases]
    three = prepare(official, tmp_path / "three", 256, workers=2)
    for i in range(len(cases)):
        assert np.array_equal(store.images(i), three.images(i))
    with pytest.raises(ValueError, match=r"contains labels \[3\] in \d+ voxels; allowed are 0, 1, 2;"):
        prepare(NnUNet().find(tmp_path / "nnunet"), tmp_path / "refused", 256)
