"""Problems and unusual properties of the files of one case."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.case import LABEL_NAME
from tests.conftest import AFFINE, blocky, write_case
from tests.helpers.verifying import case, expect_only_problem, fine, verify


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return fine(tmp_path / "raw")


def same(array: np.ndarray) -> np.ndarray:
    return array


def nan(image: np.ndarray) -> np.ndarray:
    values = image.astype(np.float32)
    values[2, 30, 30] = np.nan
    return values


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        (same, lambda a: a[:, :, 1:], f"{LABEL_NAME}: has shape (6, 64, 63), its image (6, 64, 64); "),
        (same, lambda a: a[1:], f"{LABEL_NAME}: has shape (5, 64, 64), its image (6, 64, 64); "),
        (nan, same, "imaging.nii.gz: contains NaN or infinite values; "),
        (lambda a: a.astype(np.float32) * np.inf, same, "imaging.nii.gz: contains NaN or infinite"),
    ],
)  # fmt: skip
def test_unusable_arrays(raw: Path, images: Any, labels: Any, text: str) -> None:
    shutil.rmtree(raw / "case_00001")
    image, label = blocky(1)
    with np.errstate(invalid="ignore"):
        write_case(raw, 1, images(image), labels(label))
    expect_only_problem(raw, text)


@pytest.mark.parametrize(("moved_mm", "apart"), [(0.5, "0.5"), (0.011, "0.011"), (0.009, None)])
def test_a_label_with_another_affine(raw: Path, moved_mm: float, apart: str | None) -> None:
    shutil.rmtree(raw / "case_00001")
    moved = AFFINE.copy()
    moved[1, 3] += moved_mm
    write_case(raw, 1, *blocky(1), label_affine=moved)
    if apart is None:
        assert verify(raw)[0] == 0
        return
    expect_only_problem(raw, f"{LABEL_NAME}: its affine differs from the image's by up to {apart} mm; ")


@pytest.mark.parametrize("name", ["imaging.nii.gz", LABEL_NAME])
@pytest.mark.parametrize("cut", [1, 9, 100])
def test_a_truncated_file(raw: Path, name: str, cut: int) -> None:
    path = raw / "case_00001" / name
    path.write_bytes(path.read_bytes()[:-cut])
    expect_only_problem(raw, f"{name}: is truncated after {path.stat().st_size} bytes; fetch it again")


@pytest.mark.parametrize("slices_mm", [0.09, 0.11, 49.9, 50.1])
def test_spacing_within_limits(raw: Path, slices_mm: float) -> None:
    (raw / "kits.json").unlink()
    shutil.rmtree(raw / "case_00001")
    affine = AFFINE.copy()
    affine[2, 0] = -slices_mm
    write_case(raw, 1, *blocky(1), affine)
    if 0.1 < slices_mm < 50:
        assert verify(raw)[0] == 0
        return
    expect_only_problem(raw, f"imaging.nii.gz: has a spacing of ({slices_mm}")


@pytest.mark.parametrize(
    ("width_mm", "thickness_mm", "fits"),
    [
        (0.8, 3.0, True), (0.8009, 3.0, True), (0.8011, 3.0, False), (0.8, 5.0, False),
        (None, 5.0, True), ("0.8", "3.0", True), ("0.8", "5.0", False),
    ],
)  # fmt: skip
def test_published_spacing_of_kits21_and_kits23(
    raw: Path, width_mm: float | str | None, thickness_mm: float | str, fits: bool
) -> None:
    entry = {"captured_pixel_width": width_mm, "captured_slice_thickness": thickness_mm}
    (raw / "kits.json").write_text(json.dumps([{"case_id": "case_00001", **entry}]))
    if fits:
        assert verify(raw)[0] == 0
        return
    expect_only_problem(raw, "imaging.nii.gz: has a spacing of (")


def test_each_file_is_opened_once(raw: Path) -> None:
    opened: list[str] = []
    active = [True]

    def record(event: str, arguments: tuple[Any, ...]) -> None:
        if active and event == "open" and str(arguments[0]).endswith(".nii.gz"):
            opened.append(str(arguments[0]))

    sys.addaudithook(record)  # cannot be removed
    assert verify(raw)[0] == 0
    active.clear()
    assert sorted(opened) == sorted(str(path) for path in raw.rglob("*.nii.gz"))


def test_unusual_properties_are_noted(raw: Path) -> None:
    image, label = blocky(1)
    shutil.rmtree(raw / "case_00001")
    turn = nib.orientations.axcodes2ornt("RAS")
    change = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), turn)
    pair = [
        nib.Nifti1Image(a, AFFINE).as_reoriented(change) for a in (image.clip(-99), label * (label < 2))
    ]
    arrays = [np.asarray(each.dataobj) for each in pair]
    write_case(raw, 1, *arrays, affine=pair[0].affine)
    code, report = verify(raw)
    found = case(report, 1)
    assert code == 0 and found["state"] == "ok" and found["axes"] == "RAS"
    assert found["notes"] == [
        "reoriented on reading",
        "lowest value -99 HU: no air; check that the values are HU",
        "no tumour",
    ]


def test_a_guessed_orientation_is_noted(raw: Path) -> None:
    case_ = write_case(raw, 7, *blocky(7))
    for path in (case_.image, case_.label):
        nifti = nib.load(path)
        array = np.asarray(nifti.dataobj)
        nifti.set_sform(None, 0)
        nifti.set_qform(None, 0)
        nib.save(nib.Nifti1Image(array, None, nifti.header), path)
    _, report = verify(raw, "cases=7")
    assert any("its orientation is unknown" in note for note in case(report, 7)["notes"])
