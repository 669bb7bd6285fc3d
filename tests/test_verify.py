"""The command `kitsseg.verify`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from kitsseg.config import CONFIG_DIR
from kitsseg.data.kits19 import LABEL_NAME
from kitsseg.verify import run
from tests.conftest import AFFINE, blocky, write_case


def verify(root: Path, *overrides: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the report."""
    report = root.parent / "report.json"
    given = [f"root={root}", f"report={report}", "workers=1", *overrides]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        code = run(compose("verify", given))
    return code, json.loads(report.read_text())


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Cases 0 to 3, all fine, and their list."""
    root = tmp_path / "raw"
    for number in range(4):
        write_case(root, number, *blocky(number))
    published = {"x_spacing": 0.8, "y_spacing": 0.8, "z_spacing": 3.0}
    entries = [{"case_id": f"case_{n:05d}", "voxel_spacing": published} for n in range(4)]
    (root / "kits.json").write_text(json.dumps(entries))
    return root


def case(report: dict[str, Any], number: int) -> dict[str, Any]:
    return next(c for c in report["cases"] if c["id"] == f"case_{number:05d}")


def test_what_is_fine(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_everything_that_is_wrong(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
        "case_00001": ("bad", 2),  # both files are looked at
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
        "imaging.nii.gz: is missing (its download was cut off); python -m kitsseg.download root=DIR",
        "every voxel has the same value",
        "holds labels [3, 4, 5]",
        "has a spacing of (6.0, ",
        "kits.json says [0.8, 0.8, 3.0]",
        "is background alone",
        "case_00005/segmentation.nii.gz: is missing",
    ):
        assert text in "\n".join(errors)


def test_what_is_unusual_but_taken_care_of(raw: Path) -> None:
    image, label = blocky(1)
    shutil.rmtree(raw / "case_00001")
    turn = nib.orientations.axcodes2ornt("RAS")
    change = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), turn)
    pair = [
        nib.Nifti1Image(a, AFFINE).as_reoriented(change) for a in (image + 2000, label * (label < 2))
    ]
    arrays = [np.asarray(each.dataobj) for each in pair]
    turned = write_case(raw, 1, *arrays, affine=pair[0].affine)
    header = pair[0].header.copy()
    stored = nib.Nifti1Image(arrays[0], None, header)
    stored.header["sform_code"] = stored.header["qform_code"] = 0
    del turned
    code, report = verify(raw)
    found = case(report, 1)
    assert code == 0 and found["state"] == "ok" and found["axes"] == "RAS"
    assert found["notes"] == [
        "lies as RAS; turned when it's read",
        "holds no value below 0, and much at about 1024: CT stored with an offset, it seems",
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
    assert any("which side is left is a guess" in note for note in case(report, 7)["notes"])


def test_cases_that_must_be_there(raw: Path) -> None:
    code, report = verify(raw, "cases=[0-1,9]")
    assert code == 1 and [c["id"] for c in report["cases"]] == ["case_00000", "case_00001", "case_00009"]
    assert case(report, 9)["state"] == "bad"


def test_cysts_are_read_by_another_source(raw: Path) -> None:
    image, label = blocky(1)
    label[4, 40:44, 40:44] = 3
    nib.save(nib.Nifti1Image(label, AFFINE), raw / "case_00001" / LABEL_NAME)
    assert verify(raw)[0] == 1
    code, report = verify(raw, "source=kits23")
    kidney = ((label == 1) | (label == 3)).sum() * 3 * 0.8 * 0.8 / 1000
    assert code == 0 and case(report, 1)["ml"]["kidney"] == pytest.approx(kidney, abs=1e-3)


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}', '[{"voxel_spacing": {"z": 1}}]'])
def test_a_bad_list_of_cases_is_a_line(raw: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (raw / "kits.json").write_text(text)
    code, report = verify(raw)
    assert code == 1 and len(report["problems"]) == 1
    assert "kits.json: isn't KiTS's list of cases" in capsys.readouterr().err


def test_workers_find_the_same(raw: Path) -> None:
    assert verify(raw, "workers=2") == verify(raw)


def test_refusals(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no case_XXXXX folder"):
        verify(tmp_path / "nothing")
    with pytest.raises(ValueError, match="report=.*name another file"):
        verify(raw, f"report={tmp_path}/no/such/folder.json")


def test_the_command(raw: Path) -> None:
    (raw / "case_00003" / LABEL_NAME).write_bytes(b"")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "kitsseg.verify", "root=raw", "workers=1"]
    done = subprocess.run(command, cwd=raw.parent, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "case_00003/segmentation.nii.gz: is empty; fetch it again" in done.stderr
    assert sorted(p.name for p in raw.parent.iterdir()) == ["raw", "verify.json"]
