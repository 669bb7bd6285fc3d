"""Label volumes of any origin: which file is of which case, and that the origin makes no difference."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.case import case_number
from kitsseg.data.io.nifti.read import check_same_grid, read_label_volume
from kitsseg.data.labels import KITS19, Labels
from kitsseg.evaluation.cases import Pair, find_label_volumes, prediction_values
from kitsseg.evaluation.lesions import Matching
from kitsseg.evaluation.scores import score_pair
from tests.conftest import AFFINE

LABEL = np.zeros((4, 5, 6), np.uint8)
LABEL[1:3, 2:4, 1:3] = 1
LABEL[2, 3, 4] = 2


def save(path: Path, array: np.ndarray = LABEL, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


# ---- names


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("case_00042.nii.gz", 42),
        ("prediction_00042.nii.gz", 42),
        ("KiTS_00042.nii.gz", 42),
        ("case_00042_0000.nii.gz", 42),
        ("case_00000_0000.nii.gz", 0),
        ("KITS-00042.NII", 42),
        ("case_00004_v2.nii.gz", None),
        ("case_0000.nii.gz", None),
        ("42.nii", None),
        ("fold1_case_00007.nii.gz", None),
        ("mean.nii.gz", None),
        ("case_00042_probabilities.nii.gz", None),
        ("scan_20240131.nii.gz", None),
    ],
)
def test_names(name: str, number: int | None) -> None:
    assert case_number(name) == number


def test_files_and_folders_are_found(tmp_path: Path) -> None:
    for name in ("prediction_00003.nii.gz", "case_00001.nii", "mean.nii.gz", ".case_00009.nii.gz"):
        (tmp_path / name).touch()
    (tmp_path / "plans.json").touch()
    for name in (
        "case_00007/segmentation.nii.gz",
        "case_00007/imaging.nii.gz",
        "case_00008/imaging.nii.gz",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, problems = find_label_volumes(tmp_path)
    assert {case: str(path.relative_to(tmp_path)) for case, path in found.items()} == {
        "case_00001": "case_00001.nii",
        "case_00003": "prediction_00003.nii.gz",
        "case_00007": "case_00007/segmentation.nii.gz",
    }
    assert problems == {"mean.nii.gz": "no case id in the file name; rename it like case_00042.nii.gz"}


def test_a_prediction_in_a_cases_folder_goes_before_its_label(tmp_path: Path) -> None:
    for name in ("prediction.nii.gz", "segmentation.nii.gz"):
        (tmp_path / "case_00001").mkdir(exist_ok=True)
        (tmp_path / "case_00001" / name).touch()
    found, _ = find_label_volumes(tmp_path, ("prediction.nii.gz", "segmentation.nii.gz"))
    assert found["case_00001"].name == "prediction.nii.gz"


def test_two_files_of_a_case_are_one_problem(tmp_path: Path) -> None:
    for name in ("case_00001.nii.gz", "prediction_00001.nii.gz", "case_00002.nii.gz"):
        (tmp_path / name).touch()
    found, problems = find_label_volumes(tmp_path)
    assert list(found) == ["case_00002"]
    assert problems == {
        "case_00001": f"{tmp_path}: 2 files for this case, case_00001.nii.gz and "
        "prediction_00001.nii.gz; "
        "remove all but one"
    }


def test_a_checkout_of_kits19(tmp_path: Path) -> None:
    path = save(tmp_path / "data" / "case_00004" / "segmentation.nii.gz")
    assert find_label_volumes(tmp_path) == ({"case_00004": path}, {})


def test_a_link_that_leads_nowhere_is_a_problem_of_its_case(tmp_path: Path) -> None:
    path = save(tmp_path / "case_00004" / "segmentation.nii.gz")
    (tmp_path / "case_00005").symlink_to("away")
    found, problems = find_label_volumes(tmp_path)
    assert found == {"case_00004": path} and list(problems) == ["case_00005"]
    assert "its folder is a link to away, which does not exist" in problems["case_00005"]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nosuch: no such folder"):
        find_label_volumes(tmp_path / "nosuch")


# ---- what is read


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64])
def test_any_whole_type(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "case_00001.nii.gz"
    nib.save(nib.Nifti1Image(LABEL.astype(dtype), AFFINE, dtype=dtype), path)
    mask = read_label_volume(path)
    assert mask.label.dtype == np.uint8 and np.array_equal(mask.label, LABEL)
    assert mask.layout.spacing_mm == pytest.approx((3, 0.8, 0.8))


def test_every_orientation_becomes_the_same(tmp_path: Path) -> None:
    truth = read_label_volume(save(tmp_path / "truth.nii.gz"))
    turned = np.ascontiguousarray(LABEL.transpose(2, 0, 1)[::-1, :, ::-1])
    affine = np.zeros((4, 4))
    # Array axes are now columns reversed, slices, rows reversed.
    affine[:, 0], affine[:, 1], affine[:, 2] = -AFFINE[:, 2], AFFINE[:, 0], -AFFINE[:, 1]
    affine[:, 3] = AFFINE @ [0, LABEL.shape[1] - 1, LABEL.shape[2] - 1, 1]
    mask = read_label_volume(save(tmp_path / "turned.nii.gz", turned, affine))
    assert np.array_equal(mask.label, truth.label)
    check_same_grid(tmp_path, mask.layout, truth.layout)


def test_own_predictions_hold_class_ids(tmp_path: Path) -> None:
    """Label files can have other values than class ids; kitsseg writes class ids, nnU-Net the values."""
    values = {0: "background", 1: "organ", 2: "organ", 4: "lesion"}
    regions = {"organ": ["organ"], "lesion": ["lesion"]}
    labels = Labels(["background", "organ", "lesion"], regions, "lesion", values=values)
    stored = np.zeros((6, 32, 32), np.uint8)
    stored[1:4, 4:20, 4:20], stored[2:5, 8:12, 20:28], stored[2, 6:9, 6:9] = 1, 2, 4
    truth = tmp_path / "truth.nii.gz"
    save(truth, stored)
    run = tmp_path / "run"
    for folder, prediction in (
        (tmp_path / "other", stored),
        (tmp_path / "own", np.select([stored == 4, stored > 0], [2, 1])),
        (run / "predictions", np.select([stored == 4, stored > 0], [2, 1])),
        (run / "predictions/before", np.select([stored == 4, stored > 0], [2, 1])),
        (run / "of_nnunet", stored),
    ):
        folder.mkdir(parents=True)
        save(folder / "a.nii.gz", prediction.astype(np.uint8))
    (tmp_path / "own/predict.json").write_text("{}")
    (run / "result.json").write_text("{}")
    places = (run / "predictions", run / "predictions/before", run / "of_nnunet")
    for folder in (tmp_path / "other", tmp_path / "own", *places):
        predicted = prediction_values(folder, labels.stored, labels)
        pair = Pair("a", folder / "a.nii.gz", truth)
        options = {"tolerance_mm": {}, "matching": Matching(), "postprocess": None, "labels": labels}
        scores, problem = score_pair(pair, labels.stored, predicted=predicted, **options)  # type: ignore[arg-type]
        assert scores is not None, problem
        assert set(scores["dice"].values()) == {1.0}


@pytest.mark.parametrize("name", ["predict.json", "../result.json"])
def test_own_predictions_with_other_class_ids_are_refused(tmp_path: Path, name: str) -> None:
    """Nothing in the label volumes shows that 1 is the kidney here and the tumour there."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    (folder / name).write_text(json.dumps({"labels": {"classes": ["background", "Kidney", "tumor"]}}))
    regions = {"kidney": ["kidney"], "tumour": ["tumour"]}
    swapped = Labels(["background", "tumour", "kidney"], regions, "tumour")
    with pytest.raises(ValueError, match="value 1 is Kidney, but in the labels Kidney is class 2; set"):
        prediction_values(folder, swapped.stored, swapped)
    assert prediction_values(folder, KITS19.stored, KITS19) == {0: 0, 1: 1, 2: 2}
    (folder / name).write_text("{")
    with pytest.raises(ValueError, match="is damaged .*; remove it, or predict again"):
        prediction_values(folder, KITS19.stored, KITS19)
