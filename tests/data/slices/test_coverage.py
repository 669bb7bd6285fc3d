"""Regions without a training or validation case, and images in both."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from kitsseg.data.split import Split
from tests.conftest import blocky, write_case
from tests.helpers.parts import make_data

WARNINGS = {
    "training": "no training case contains tumour: networks cannot learn it",
    "validation": "no validation case contains tumour: its validation Dice is undefined",
}


def folder(root: Path, without: range) -> Path:
    """Six cases, some without a tumour."""
    for number in range(6):
        image, label = blocky(number)
        write_case(root, number, image, np.minimum(label, 1) if number in without else label)
    return root


class Halves:
    def __call__(self, cases: object) -> Split:
        ids = [f"case_{number:05d}" for number in range(6)]
        return Split(ids[:3], ids[3:])


@pytest.mark.parametrize(
    ("without", "parts"),
    [
        (range(0), []),
        (range(2), []),
        (range(3), ["training"]),
        (range(3, 6), ["validation"]),
        (range(6), ["training", "validation"]),
    ],
)
def test_a_warning_names_region_and_side(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, without: range, parts: list[str]
) -> None:
    make_data(folder(tmp_path / "raw", without), tmp_path / "store", split=Halves())
    assert [record.message for record in caplog.records] == [WARNINGS[part] for part in parts]


def test_only_the_first_rank_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    make_data(folder(tmp_path / "raw", range(3)), tmp_path / "store", split=Halves())
    assert not caplog.records


def test_slices_of_a_target_that_is_nowhere_cannot_be_repeated(tmp_path: Path) -> None:
    root = folder(tmp_path / "raw", range(3))
    with pytest.raises(ValueError, match="data.target_repeat=2: no training slice contains tumour; set"):
        make_data(root, tmp_path / "store", split=Halves(), target_repeat=2)
    make_data(root, tmp_path / "store", split=Halves(), target_repeat=1)


def test_an_image_in_two_parts_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = folder(tmp_path / "raw", range(0))
    for copy in (1, 5):  # the first is in the same part
        shutil.copy(root / "case_00000/imaging.nii.gz", root / f"case_0000{copy}/imaging.nii.gz")
    make_data(root, tmp_path / "store", split=Halves())
    assert [record.message for record in caplog.records] == [
        "case_00000 (train) and case_00005 (validation) have the same image file: the scores are "
        "optimistically biased; leave out one of each by data.exclude"
    ]
