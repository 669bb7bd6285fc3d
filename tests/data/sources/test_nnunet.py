"""nnU-Net's raw layout and the Medical Segmentation Decathlon's."""

import json
from pathlib import Path
from typing import Any

import pytest

from kitsseg.data.case import Case
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.sources.nnunet import NnUNet, read_labels
from tests.helpers.sources import decathlon, link, nnunet, write_json


def ids(cases: list[Case]) -> list[str]:
    return [case.id for case in cases]


def test_version_2(block_cases: list[Case], tmp_path: Path) -> None:
    root = nnunet(tmp_path, block_cases)
    (root / "imagesTr" / "._case_00000_0000.nii.gz").touch()  # macOS adds such files
    link(block_cases[0].image, root / "imagesTs" / "a scan_0000.nii.gz")
    link(block_cases[1].image, root / "imagesTs" / "b_0000.nii.gz")
    link(block_cases[1].label, root / "labelsTs" / "b.nii.gz")
    cases = NnUNet(offset_hu=-1024).cases(root)
    assert ids(cases) == ["a scan", "b", *ids(block_cases)]
    assert [case.is_test for case in cases] == [True, True, *[False] * 6]
    assert cases[0].label is None and cases[1].label == root / "labelsTs" / "b.nii.gz"
    assert cases[2].image == root / "imagesTr" / "case_00000_0000.nii.gz"
    assert cases[2].stored == KITS19.stored and cases[2].offset_hu == -1024
    assert ids(NnUNet().find(root)) == ids(block_cases)


def test_version_2_with_listed_files(block_cases: list[Case], tmp_path: Path) -> None:
    files = {
        f"p{i}": {"images": [str(c.image)], "label": str(c.label)} for i, c in enumerate(block_cases)
    }
    nnunet(tmp_path, [], dataset=files, numTraining=6)
    found = NnUNet().find(tmp_path)
    assert ids(found) == list(files) and found[5].image == block_cases[5].image


@pytest.mark.parametrize("channel", ["", "_0000"])
def test_version_1_and_the_decathlon(block_cases: list[Case], tmp_path: Path, channel: str) -> None:
    root = decathlon(tmp_path, block_cases[:4], channel, test=["./imagesTs/hepatic_1.nii.gz"])
    link(block_cases[5].image, root / "imagesTs" / f"hepatic_1{channel}.nii.gz")
    cases = NnUNet().cases(root)
    assert ids(cases) == [*ids(block_cases[:4]), "hepatic_1"]
    assert cases[-1].is_test and all(case.image.is_file() for case in cases)
    assert ids(NnUNet().find(root)) == ids(block_cases[:4])


def test_a_list_may_name_the_channel(block_cases: list[Case], tmp_path: Path) -> None:
    entry = {"image": "imagesTr/case_00000_0000.nii.gz", "label": "labelsTr/case_00000.nii.gz"}
    root = decathlon(tmp_path, block_cases[:1], "_0000", training=[entry])
    assert ids(NnUNet().find(root)) == ["case_00000"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"channel_names": {"0": "CT", "1": "PET"}}, r"has 2 channels \(CT, PET\); keep the CT alone"),
        ({"file_ending": ".nrrd"}, "file_ending=.nrrd: must be .nii.gz or .nii; convert the files"),
        ({"numTraining": 7}, "numTraining=7, but there are 6 training cases; correct it, or add the"),
        ({"channel_names": 3}, "is not in nnU-Net's format"),
        ({"dataset": {"a": {"label": "x"}}}, r"is not in nnU-Net's format \(KeyError\('images'\)\)"),
        (
            {"dataset": {i: {"images": ["x"], "label": "x"} for i in "aA"}},
            "case id 'A': differs from 'a' in case only; rename one",
        ),
        ({"dataset": {"a/b": {"images": ["x"], "label": "x"}}}, "case id 'a/b': must be a file name"),
        (
            {"dataset": {i: {"images": ["x.nii"], "label": "y.nii"} for i in "abc"}},
            r"6 of 6 files are missing: .*x.nii, .*y.nii, .*x.nii and 3 more; add them, or remove",
        ),
    ],
)
def test_a_wrong_dataset_json_is_one_line(
    block_cases: list[Case], tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    root = nnunet(tmp_path, block_cases, **changes)
    with pytest.raises(ValueError, match=text) as error:
        NnUNet().cases(root)
    assert "\n" not in str(error.value) and str(error.value).startswith(f"{root / 'dataset.json'}: ")


def test_files_that_do_not_fit_are_refused(block_cases: list[Case], tmp_path: Path) -> None:
    root = nnunet(tmp_path, block_cases)
    (root / "labelsTr" / "case_00002.nii.gz").unlink()
    with pytest.raises(ValueError, match="labelsTr: case_00002.nii.gz is missing; add it, or move its"):
        NnUNet().cases(root)
    (root / "imagesTr" / "case_00002_0000.nii.gz").unlink()
    with pytest.raises(ValueError, match="numTraining=6, but there are 5 training cases"):
        NnUNet().cases(root)
    (root / "imagesTr" / "case_00003_0000.nii.gz").rename(root / "imagesTr" / "case_00003.nii.gz")
    with pytest.raises(ValueError, match="case_00003.nii.gz must be named like NAME_0000.nii.gz; "):
        NnUNet().cases(root)
    (root / "imagesTr" / "case_00003.nii.gz").unlink()
    with pytest.raises(ValueError, match="labelsTr: no image for case_00003.nii.gz; add it, or remove"):
        NnUNet().cases(root)
    link(block_cases[0].image, root / "imagesTr" / "case_00003_0001.nii.gz")
    with pytest.raises(ValueError, match="case_00003_0001.nii.gz: is another channel; keep _0000"):
        NnUNet().cases(root)


def test_an_image_with_another_ending_is_refused(block_cases: list[Case], tmp_path: Path) -> None:
    root = nnunet(tmp_path, block_cases[:2], numTraining=1)
    (root / "imagesTr" / "case_00001_0000.nii.gz").rename(root / "imagesTr" / "case_00001_0000.nii")
    (root / "labelsTr" / "case_00001.nii.gz").rename(root / "labelsTr" / "case_00001.nii")
    with pytest.raises(ValueError, match="imagesTr: case_00001_0000.nii must be named like NAME_0000"):
        NnUNet().cases(root)


def test_a_root_that_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="contains no dataset.json; set the folder of a data set in nnU-Net's layout"
    ):
        NnUNet().find(tmp_path)
    for text, problem in (("{", "cannot be read"), ("[]", "is a list, not an object")):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(ValueError, match=problem):
            NnUNet().find(tmp_path)
    with pytest.raises(ValueError, match="contains no training cases"):
        NnUNet().find(nnunet(tmp_path, []))


# ---- labels


def labels(folder: Path, values: Any, **others: Any) -> Path:
    write_json(folder / "dataset.json", {"labels": values, **others})
    return folder


@pytest.mark.parametrize(
    "values",
    [
        {"background": 0, "kidney": 1, "renal-tumour": 2, "renal cyst": 5},
        {"0": "background", "1": "kidney", "2": "renal-tumour", "5": "renal cyst"},
    ],
)
def test_each_class_is_a_region(tmp_path: Path, values: dict[str, Any]) -> None:
    found = read_labels(labels(tmp_path, values))
    assert found.classes == ["background", "kidney", "renal_tumour", "renal_cyst"]
    assert found.stored == {0: 0, 1: 1, 2: 2, 5: 3} and found.target == "renal_cyst"
    assert [found.ids(region) for region in found.regions] == [(1,), (2,), (3,)]
    assert read_labels(tmp_path, "kidney").target == "kidney"


def test_the_regions_of_nnunet(tmp_path: Path) -> None:
    """KiTS23's, as in nnU-Net's documentation: 1 kidney, 2 tumour, 3 cyst."""
    values = {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}
    found = read_labels(labels(tmp_path, values, regions_class_order=[1, 3, 2]))
    assert found.classes == ["background", "kidney", "tumor", "masses"]
    assert {region: found.ids(region) for region in found.regions} == {
        "kidney": (1, 2, 3), "masses": (2, 3), "tumor": (2,)
    }  # fmt: skip
    assert found.target == "tumor" and found.stored == {0: 0, 1: 1, 2: 2, 3: 3}
    for order in (None, [1, 2], [1, 1, 2]):
        with pytest.raises(ValueError, match=r"regions_class_order=.*: must be one value for each of"):
            read_labels(labels(tmp_path, values, regions_class_order=order))


def test_a_value_that_nnunet_never_writes_has_a_number(tmp_path: Path) -> None:
    values = {"background": 0, "organ": [1, 2, 4], "lesion": 2}
    found = read_labels(labels(tmp_path, values, regions_class_order=[1, 2]))
    assert found.classes == ["background", "organ", "lesion", "label_4"]
    assert found.ids("organ") == (1, 2, 3) and found.stored == {0: 0, 1: 1, 2: 2, 4: 3}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"background": 0, "a": 1, "ignore": 2},
            "the label ignore is not supported; relabel its voxels",
        ),
        ({"a": 1, "b": 2}, "must name the value 0, the background"),
        ({"background": 0}, "must be 2 to 64 different names"),
        ({"background": 0, "a b": 1, "a-b": 2}, "must be different names"),
        ({"background": 0, "1st": 1}, "1st: names of classes and regions start with"),
        ({"background": 0, "a": "one"}, "its labels cannot be read|invalid literal"),
        ({"background": 0, "a": None}, "its labels cannot be read"),
        (["background"], "its labels cannot be read"),
    ],
)
def test_wrong_labels_are_one_line(tmp_path: Path, values: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text) as error:
        read_labels(labels(tmp_path, values))
    assert str(error.value).startswith(f"{tmp_path / 'dataset.json'}: ")
    with pytest.raises(ValueError, match="target: c must be one of a, b"):
        read_labels(labels(tmp_path, {"background": 0, "a": 1, "b": 2}), "c")


def test_labels_decide_the_stored_values(block_cases: list[Case], tmp_path: Path) -> None:
    root = nnunet(tmp_path, block_cases, labels={"background": 0, "tumour": 2, "kidney": 1})
    found = NnUNet().find(root, read_labels(root))[0]
    assert found.stored == {0: 0, 1: 1, 2: 2}
    assert json.loads((root / "dataset.json").read_text())["numTraining"] == 6


# ---- labels of the user's own


def own(classes: str, values: dict[int, str] | None = None, target: str = "kidney") -> Labels:
    names = ["background", *classes.split()]
    return Labels(names, {name: [name] for name in names[1:]}, target, values=values)


MERGED = {0: "background", 1: "kidney", 2: "kidney"}


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ({"background": 0, "Kidneys": 1, "Tumor": 2}, KITS19),
        ({"air": 0, "kidney": 1, "tumour": 2, "renal cyst": 3}, KITS19),  # 3 is refused where it occurs
        ({"background": 0, "kidney": 1, "tumor": 2}, own("kidney", MERGED)),
        ({"background": 0, "left": 1, "right": 2}, own("kidney", MERGED)),
        (
            {"background": 0, "all": [1, 2, 3], "masses": [2, 3], "tumor": 2},
            own("all tumour cyst", target="cyst"),
        ),
        ({}, KITS19),
    ],
)  # fmt: skip
def test_names_that_agree(
    block_cases: list[Case], tmp_path: Path, names: dict[str, Any], labels: Labels
) -> None:
    assert len(NnUNet().cases(nnunet(tmp_path, block_cases, labels=names), labels)) == 6


@pytest.mark.parametrize(
    ("names", "labels", "problem"),
    [
        ({"background": 0, "liver": 1}, KITS19, "value 1 is liver, but the labels read it as kidney"),
        ({"0": "background", "2": "kidney"}, KITS19, "value 2 is kidney, but the labels read it as tum"),
        (
            {"background": 0, "kidney": 2, "tumour": 1},
            own("kidney tumour", {0: "background", 1: "kidney", 2: "tumour"}),
            "value 2 is kidney, but the labels read it as tumour",
        ),
        ({"background": 0, "all": [1, 2], "lesion": 2}, KITS19, "value 1 is all, but the labels read"),
        ({"background": 0, "a": "one"}, KITS19, "its labels cannot be read"),
    ],
)
def test_labels_that_contradict_dataset_json(
    block_cases: list[Case], tmp_path: Path, names: dict[str, Any], labels: Labels, problem: str
) -> None:
    root = nnunet(tmp_path, block_cases, labels=names)
    with pytest.raises(ValueError) as error:
        NnUNet().find(root, labels)
    assert str(error.value).startswith(f"{root / 'dataset.json'}: {problem}")
    assert "\n" not in str(error.value)
    if "liver" in names:
        assert len(NnUNet().find(root, read_labels(root))) == 6
        assert len(NnUNet().find(root, own("kidney", MERGED))) == 6


def test_files_that_a_list_leaves_out(block_cases: list[Case], tmp_path: Path) -> None:
    root = decathlon(tmp_path, block_cases)
    (root / "labelsTr" / "._case_00000.nii.gz").touch()
    assert len(NnUNet().cases(root)) == 6
    link(block_cases[0].label, root / "labelsTr" / "other.nii.gz")
    problem = "dataset.json: training does not list other.nii.gz of labelsTr; list it, or move it"
    with pytest.raises(ValueError, match=problem):
        NnUNet().cases(root)
