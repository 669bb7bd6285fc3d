"""Four classes on real slices of KiTS23, in ``KITSSEG_TEST_DATA``, from both kinds of sources."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.case import Case
from kitsseg.data.sources.nnunet import NnUNet
from kitsseg.data.sources.table import Table
from kitsseg.data.store.prepare import prepare
from kitsseg.reporting import run_record
from tests.commands.test_own_classes import SMALL
from tests.commands.test_report import run as report
from tests.helpers.evaluating import evaluate, record
from tests.helpers.forks import command
from tests.helpers.own_labels import KITS23
from tests.helpers.predicting import predict
from tests.helpers.sources import nnunet, table
from tests.test_real import FOLDER

pytestmark = pytest.mark.skipif(
    not (FOLDER / "kits23-real").is_dir(), reason="KITSSEG_TEST_DATA names no folder with kits23-real"
)
NUMBERS = (34, 94, 137, 278, 499, 551)  # with kidney, tumour and cyst
OFFICIAL = {"kidney_and_masses": (1, 2, 3), "masses": (2, 3), "tumour": (2,)}  # of the challenge


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    folders = [FOLDER / "kits23-real" / f"case_{number:05d}" for number in NUMBERS]
    return [Case(f.name, f / "imaging.nii.gz", f / "segmentation_kits23.nii.gz") for f in folders]


@pytest.fixture
def sources(tmp_path: Path, cases: list[Case]) -> tuple[Path, Path]:
    """Return a folder in nnU-Net's layout, with links to the images, and a table of the same cases."""
    names = {"background": 0, "kidney": 1, "tumour": 2, "cyst": 3}
    rows = [[case.id, case.image, case.label] for case in cases]
    return nnunet(tmp_path / "nnunet", cases, labels=names), table(tmp_path / "cases.csv", rows)


def official_dice(prediction: Path, truth: Path) -> dict[str, float]:
    """Return Dice by region, from the definition."""
    a, b = (np.asarray(nib.load(path).dataobj) for path in (prediction, truth))
    masks = {name: (np.isin(a, ids), np.isin(b, ids)) for name, ids in OFFICIAL.items()}
    return {name: 2 * (x & y).sum() / (x.sum() + y.sum()) for name, (x, y) in masks.items()}


def test_both_sources_give_equal_slices(tmp_path: Path, sources: tuple[Path, Path]) -> None:
    found = [s.find(root, KITS23) for s, root in zip((NnUNet(), Table()), sources, strict=True)]
    first, second = (prepare(c, tmp_path / f"{i}", 128, labels=KITS23) for i, c in enumerate(found))
    assert first.ids == second.ids == [f"case_{n:05d}" for n in NUMBERS]
    for i in range(len(NUMBERS)):
        assert np.array_equal(first.images(i), second.images(i))
        assert np.array_equal(first.labels(i), second.labels(i))
        assert np.array_equal(np.unique(first.labels(i)), [0, 1, 2, 3])


def test_train_predict_evaluate_and_report(
    tmp_path: Path, cases: list[Case], sources: tuple[Path, Path]
) -> None:
    folder, csv_file = sources
    options = ["data=table", f"data.root={csv_file}", "labels=kits23", "loss=dice_ce", "data.size=64"]
    done = command(tmp_path, *options, "model.class_prior=[]", *SMALL)
    assert done.returncode == 0, done.stderr
    run = next(tmp_path.rglob("result.json")).parent
    assert run_record.read(run / "result.json").label_set.regions == KITS23.regions

    out = tmp_path / "predictions"
    assert predict(run / "checkpoints" / "finetune" / "best.ckpt", csv_file, out) == 0
    truth = {case.id: case.label for case in cases}
    expected = {name: official_dice(out / f"{name}.nii.gz", path) for name, path in truth.items()}
    assert max(dice["masses"] for dice in expected.values()) > 0
    for source, root in (("nnunet", folder), ("table", csv_file)):
        metrics = tmp_path / f"metrics-{source}"
        assert evaluate(out, root, metrics, f"source={source}", "labels=kits23") == 0
        scores = record(metrics)
        for name, dice in expected.items():
            assert scores["cases"][name]["dice"] == pytest.approx(dice)
        for region in OFFICIAL:
            mean = np.mean([dice[region] for dice in expected.values()])
            assert scores["summary"]["as_predicted"]["dice"][region]["mean"] == pytest.approx(mean)

    page = tmp_path / "paper"
    report([str(run), str(tmp_path / "metrics-table")], page)
    text = (page / "table1.md").read_text()
    assert all(f"Val {region.replace('_', ' ')}" in text for region in OFFICIAL)
