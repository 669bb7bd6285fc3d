"""The commands of the tutorials and guides run as printed, on small data."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kitsseg import Phantom
from tests.conftest import blocky, write_case
from tests.helpers import pages
from tests.helpers.dicom import write_series
from tests.helpers.sources import nnunet


def test_first_run(tmp_path: Path) -> None:
    assert pages.run(pages.read("tutorials/first-run.md"), tmp_path) == 3
    assert (tmp_path / "outputs/first/report.html").is_file()
    assert len(list((tmp_path / "predictions").glob("*.nii.gz"))) == 2


def test_table1(tmp_path: Path) -> None:
    for number in range(5):
        write_case(tmp_path / "kits19", number, *blocky(number))
    text = pages.read("tutorials/table1.md")
    for printed, small in (("=labelled", "=0-4"), ("=256", "=64"), ("seed=0,1,2", "seed=0")):
        text = text.replace(printed, small)
    fixed = {"prepare": ["data.prepare_workers=1"], "verify": ["cases=labelled"]}
    assert pages.run(text, tmp_path, fixed) == 5
    assert "attn_unet" in (tmp_path / "outputs/table1/table1.md").read_text()


def test_your_data(tmp_path: Path) -> None:
    cases = [replace(write_case(tmp_path / "raw", n, *blocky(n)), id=f"liver_{n:03d}") for n in (1, 2)]
    nnunet(tmp_path / "liver", cases)
    text = pages.read("tutorials/your-data.md")
    pages.write_files(text, tmp_path)
    assert pages.run(text, tmp_path) == 4
    assert (tmp_path / "liver-metrics/evaluation.csv").read_text().count("liver_00") == 1


def test_your_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = pages.read("tutorials/your-code.md")
    pages.write_files(text, tmp_path)
    training = [value for value in pages.TRAINING if not value.startswith("model.")]
    assert pages.run(text, tmp_path, {"train": training}) == 3
    assert "| plain " in (tmp_path / "outputs/mine/table1.md").read_text()


def test_clusters(tmp_path: Path) -> None:
    text = pages.read("tutorials/clusters.md").replace("n_jobs=2", "n_jobs=1")
    assert pages.run(text, tmp_path) == 1
    assert len(list((tmp_path / "outputs/parallel").glob("*/result.json"))) == 4


def test_comparing(tmp_path: Path) -> None:
    training = [value for value in pages.TRAINING if value != "logger=csv"]  # the page is about W&B
    assert pages.run(pages.read("tutorials/comparing.md"), tmp_path, {"train": training}) == 3
    assert (tmp_path / "paper/report.html").is_file()


def test_applying(tmp_path: Path, guesser: Path) -> None:
    image = Phantom(1, 8, 64, workers=1).find(tmp_path / "raw")[0].image
    shutil.copy(image, tmp_path / "ct.nii.gz")
    for name in ("best", "other"):
        shutil.copy(guesser, tmp_path / f"{name}.ckpt")
    write_series(tmp_path / "study")
    assert pages.run(pages.read("tutorials/applying.md"), tmp_path) == 4
    assert list((tmp_path / "out/dicom_seg").iterdir())


@pytest.mark.parametrize("page", ["debugging", "folds", "statistics"])
def test_guides(page: str, tmp_path: Path) -> None:
    assert pages.run(pages.read(f"how-to/{page}.md"), tmp_path) > 0
