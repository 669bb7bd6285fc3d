"""The command `kitsseg.verify`."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data import parallel
from kitsseg.data.case import LABEL_NAME
from tests.conftest import AFFINE, blocky, write_case
from tests.helpers import forks, powerless
from tests.helpers.commands import find_problems
from tests.helpers.sources import nnunet
from tests.helpers.verifying import case, fine, verify


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return fine(tmp_path / "raw")


def test_intact_cases_have_no_problems(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = verify(raw)
    assert code == 0 and report["version"] == 1 and report["root"] == str(raw)
    found = case(report, 1)
    assert found["state"] == "ok" and found["problems"] == found["notes"] == []
    assert found["shape"] == [6, 64, 64] and found["axes"] == "IPL" and found["dtype"] == "int16"
    assert found["spacing_mm"] == pytest.approx([3, 0.8, 0.8])
    image, label = blocky(1)
    assert found["range_hu"] == [image.min(), image.max()]
    voxel_ml = 3 * 0.8 * 0.8 / 1000
    assert found["ml"] == pytest.approx(
        {"kidney": (label == 1).sum() * voxel_ml, "tumour": (label == 2).sum() * voxel_ml}, abs=1e-3
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["case", "state"] and len(lines) == 6
    assert lines[-1].startswith("4 cases, 0 bad; ")


def test_the_group_of_another_command_is_one_line(raw: Path) -> None:
    (problem,) = find_problems("verify", [f"root={raw}", "data=nnunet"])
    assert problem == "data=nnunet: no such group in this command; did you mean source=nnunet?"


def test_labels_without_dataset_json_are_named(raw: Path) -> None:
    (problem,) = find_problems("verify", [f"root={raw}", "labels=nnunet", "labels.root=nowhere"])
    assert problem == "labels: nowhere: does not exist; set the folder of a data set in nnU-Net's layout"
    (raw / "nnunet").mkdir()
    here = f"labels.root={nnunet(raw / 'nnunet', [])}"  # the remedy
    assert find_problems("verify", [f"root={raw}", "labels=nnunet", here]) == []


def test_all_problems_are_reported(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (raw / "case_00000" / "imaging.nii.gz").unlink()
    (raw / "case_00000" / ".imaging.nii.gz.part").touch()
    image, label = blocky(1)
    nib.save(nib.Nifti1Image(image * 0, AFFINE), raw / "case_00001" / "imaging.nii.gz")
    nib.save(nib.Nifti1Image(label + np.uint8(3), AFFINE), raw / "case_00001" / LABEL_NAME)
    shutil.rmtree(raw / "case_00002")
    write_case(raw, 2, image, label, AFFINE @ np.diag([2, 1, 1, 1]))
    nib.save(nib.Nifti1Image(label * 0, AFFINE), raw / "case_00003" / LABEL_NAME)
    test_case = write_case(raw, 210, image, label)
    test_case.label.unlink()
    (raw / "case_00005").mkdir()
    code, report = verify(raw)
    assert code == 1
    states = {c["id"]: (c["state"], len(c["problems"])) for c in report["cases"]}
    assert states == {
        "case_00000": ("bad", 1),
        "case_00001": ("bad", 2),  # both files are read
        "case_00002": ("bad", 1),
        "case_00003": ("bad", 1),
        "case_00005": ("bad", 2),
        "case_00210": ("test", 0),
    }
    errors = capsys.readouterr().err.splitlines()
    assert [line for line in errors if line.startswith("kitsseg.verify: ")] == errors and len(
        errors
    ) == 7
    for text in (
        "imaging.nii.gz: is missing (partial download); add it, or for KiTS19 run python",
        "every voxel has the same value",
        "contains labels [3, 4, 5]",
        "has a spacing of (6.0, ",
        "kits.json says [0.8, 0.8, 3.0]",
        "contains background only",
        "case_00005/segmentation.nii.gz: is missing",
    ):
        assert text in "\n".join(errors)


def test_obstacles_are_reported(raw: Path) -> None:
    for number in range(3):
        (raw / f"case_{number:05d}" / "imaging.nii.gz").unlink()
    (raw / "case_00000" / "imaging.nii.gz").mkdir()
    (raw / "case_00001" / "imaging.nii.gz").symlink_to("/away/1.nii.gz")
    (raw / "case_00002" / "imaging.nii.gz").symlink_to("imaging.nii.gz")
    (raw / "case_00003" / LABEL_NAME).unlink()
    (raw / "case_00003" / LABEL_NAME).symlink_to("/away/3.nii.gz")
    code, report = verify(raw)
    assert code == 1
    assert [c["problems"] for c in report["cases"]] == [
        [f"{raw}/case_00000/imaging.nii.gz: is a folder, not a file; move it away"],
        [
            f"{raw}/case_00001/imaging.nii.gz: is a link to /away/1.nii.gz, which does not exist; "
            "repair or remove the link"
        ],
        [
            f"{raw}/case_00002/imaging.nii.gz: is a link to imaging.nii.gz, which points back "
            "to itself; repair or remove the link"
        ],
        [
            f"{raw}/case_00003/{LABEL_NAME}: is a link to /away/3.nii.gz, which does not exist; "
            "repair or remove the link"
        ],
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_folder_without_permission_is_reported(raw: Path, workers: int) -> None:
    (raw / "case_00002").chmod(0)
    try:
        done = powerless.run(raw.parent, "-m", "kitsseg.verify", "root=raw", f"workers={workers}")
    finally:
        (raw / "case_00002").chmod(0o755)
    said = "cannot be accessed (Permission denied); chmod u+rwx raw/case_00002, or ask its owner"
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"kitsseg.verify: raw/case_00002/{name}: {said}" for name in ("imaging.nii.gz", LABEL_NAME)
    ]
    report = json.loads((raw.parent / "verify.json").read_text())
    assert [c["state"] for c in report["cases"]] == ["ok", "ok", "bad", "ok"]


def test_requested_cases_must_exist(raw: Path) -> None:
    code, report = verify(raw, "cases=[0-1,9]")
    assert code == 1 and [c["id"] for c in report["cases"]] == ["case_00000", "case_00001", "case_00009"]
    assert case(report, 9)["state"] == "bad"


def problems_of(*overrides: str) -> list[str]:
    return find_problems("verify", ["root=x", *overrides])


def test_source_defines_the_cases(raw: Path) -> None:
    assert problems_of("source=kits23", "cases=450") == []
    assert problems_of("source=kits23", "cases=[7,0-588]") == []
    assert problems_of("source=kits23", "cases=350") == ["cases=350: must be within 0-299 or 400-588"]
    assert problems_of("source=kits21", "cases=test") == ["cases=test: this source has no such cases"]
    refused = ["cases=450: must be within 0-299"]
    assert problems_of("cases=450") == problems_of("source=kits21", "cases=450") == refused
    _, report = verify(raw, "source=kits23", "cases=all")
    assert len(report["cases"]) == 489 and report["cases"][-1]["id"] == "case_00588"
    _, report = verify(raw, "source=kits21", "cases=labelled")
    assert len(report["cases"]) == 300


@pytest.mark.parametrize(
    ("source", "number", "remedy"),
    [
        ("kits19", 5, "add it, or for KiTS19 run python -m kitsseg.download root="),
        ("kits19", 588, "kitsseg.download provides cases 0-299 only"),
        ("kits21", 5, "see https://github.com/neheller/kits21"),
        ("kits23", 588, "see https://github.com/neheller/kits23"),
    ],
)
def test_missing_file_is_reported_with_a_remedy(
    raw: Path, source: str, number: int, remedy: str
) -> None:
    (raw / f"case_{number:05d}").mkdir()
    _, report = verify(raw, f"source={source}")
    problems = case(report, number)["problems"]
    assert len(problems) == 2
    assert all(f".nii.gz: is missing; {remedy}" in problem for problem in problems)


def test_cysts_are_read_as_kidney(raw: Path) -> None:
    image, label = blocky(1)
    label[4, 40:44, 40:44] = 3
    nib.save(nib.Nifti1Image(label, AFFINE), raw / "case_00001" / LABEL_NAME)
    assert verify(raw)[0] == 1
    code, report = verify(raw, "source=kits23")
    kidney = ((label == 1) | (label == 3)).sum() * 3 * 0.8 * 0.8 / 1000
    assert code == 0 and case(report, 1)["ml"]["kidney"] == pytest.approx(kidney, abs=1e-3)


def test_labels_apply_to_selected_cases(raw: Path) -> None:
    image, label = blocky(1)
    label[4, 40:44, 40:44] = 3
    nib.save(nib.Nifti1Image(label, AFFINE), raw / "case_00001" / LABEL_NAME)
    code, report = verify(raw, "source=kits23", "labels=kits23", "cases=1")
    cyst = (label == 3).sum() * 3 * 0.8 * 0.8 / 1000
    assert code == 0 and case(report, 1)["ml"]["cyst"] == pytest.approx(cyst, abs=1e-3)


def test_label_file_of_kits21(raw: Path) -> None:
    folder = raw / "case_00001"
    image, label = blocky(1)
    label[4, 40:44, 40:44] = 3
    (folder / LABEL_NAME).unlink()
    nib.save(nib.Nifti1Image(label, AFFINE), folder / "aggregated_MAJ_seg.nii.gz")
    code, report = verify(raw, "source=kits21", "cases=1")
    kidney = ((label == 1) | (label == 3)).sum() * 3 * 0.8 * 0.8 / 1000
    assert code == 0 and case(report, 1)["ml"]["kidney"] == pytest.approx(kidney, abs=1e-3)
    tumour = (label == 2).sum() * 3 * 0.8 * 0.8 / 1000
    assert case(report, 1)["ml"]["tumour"] == pytest.approx(tumour, abs=1e-3)
    _, report = verify(raw, "source=kits21", "cases=2")
    (problem,) = case(report, 2)["problems"]
    assert problem.startswith(f"{raw}/case_00002/aggregated_MAJ_seg.nii.gz: is missing; ")


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}', '[{"voxel_spacing": {"z": 1}}]'])
def test_malformed_list_of_cases_is_reported(
    raw: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (raw / "kits.json").write_text(text)
    code, report = verify(raw)
    assert code == 1 and len(report["problems"]) == 1
    assert "kits.json: is not a list of KiTS cases" in capsys.readouterr().err


def test_the_result_does_not_depend_on_workers(raw: Path) -> None:
    assert verify(raw, "workers=2") == verify(raw)


def test_root_without_cases_is_rejected(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contains no cases; set source= to its layout"):
        verify(tmp_path / "nothing")


@pytest.mark.parametrize("report", ["no/such/folder.json", "folder"])
def test_unwritable_report_is_rejected_before_reading(
    raw: Path, tmp_path: Path, report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(parallel, "over_cases", lambda *args: pytest.fail("cases are read"))
    with pytest.raises(ValueError, match="report=.*set another file"):
        verify(raw, f"report={tmp_path}/{report}")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "raw"]


def test_partial_download_is_reported(raw: Path) -> None:
    (raw / "case_00001" / LABEL_NAME).rename(raw / "case_00001" / f".{LABEL_NAME}.part")
    _, report = verify(raw)
    assert case(report, 1)["problems"] == [
        f"{raw}/case_00001/{LABEL_NAME}: is missing (partial download); "
        f"add it, or for KiTS19 run python -m kitsseg.download root={raw} cases=1"
    ]


def test_the_command(raw: Path) -> None:
    (raw / "case_00003" / LABEL_NAME).write_bytes(b"")
    done = forks.command(raw.parent, "root=raw", "workers=1", name="kitsseg.verify")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "case_00003/segmentation.nii.gz: is empty; fetch it again" in done.stderr
    assert sorted(p.name for p in raw.parent.iterdir()) == ["raw", "verify.json"]
