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

from kitsseg.cli import find_problems
from kitsseg.config import CONFIG_DIR
from kitsseg.data import parallel
from kitsseg.data.kits19 import LABEL_NAME
from kitsseg.verify import run
from tests import powerless
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


def test_what_stands_in_a_files_place_is_named(raw: Path) -> None:
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
            f"{raw}/case_00001/imaging.nii.gz: is a link to /away/1.nii.gz, which isn't there; "
            "mend or remove the link"
        ],
        [
            f"{raw}/case_00002/imaging.nii.gz: is a link to imaging.nii.gz, which leads back to itself; "
            "mend or remove the link"
        ],
        [
            f"{raw}/case_00003/{LABEL_NAME}: is a link to /away/3.nii.gz, which isn't there; "
            "mend or remove the link"
        ],
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_case_that_cannot_be_entered_is_a_line(raw: Path, workers: int) -> None:
    (raw / "case_00002").chmod(0)
    try:
        done = powerless.run(raw.parent, "-m", "kitsseg.verify", "root=raw", f"workers={workers}")
    finally:
        (raw / "case_00002").chmod(0o755)
    said = "can't be looked at (Permission denied); chmod u+rwx raw/case_00002, or ask its owner"
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"kitsseg.verify: raw/case_00002/{name}: {said}" for name in ("imaging.nii.gz", LABEL_NAME)
    ]
    report = json.loads((raw.parent / "verify.json").read_text())
    assert [c["state"] for c in report["cases"]] == ["ok", "ok", "bad", "ok"]


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
        (nan, same, "imaging.nii.gz: holds NaN or infinite values; "),
        (lambda a: a.astype(np.float32) * np.inf, same, "imaging.nii.gz: holds NaN or infinite"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_used(raw: Path, images: Any, labels: Any, text: str) -> None:
    shutil.rmtree(raw / "case_00001")
    image, label = blocky(1)
    with np.errstate(invalid="ignore"):
        write_case(raw, 1, images(image), labels(label))
    only_problem(raw, text)


def only_problem(raw: Path, text: str) -> None:
    """One line, of case 1, that says ``text`` after the file's folder."""
    code, report = verify(raw)
    problems = [problem for c in report["cases"] for problem in c["problems"]]
    assert code == 1 and case(report, 1)["problems"] == problems and report["problems"] == []
    assert len(problems) == 1 and problems[0].startswith(f"{raw}/case_00001/{text}")


@pytest.mark.parametrize(("moved_mm", "apart"), [(0.5, "0.5"), (0.011, "0.011"), (0.009, None)])
def test_a_label_that_lies_elsewhere(raw: Path, moved_mm: float, apart: str | None) -> None:
    shutil.rmtree(raw / "case_00001")
    moved = AFFINE.copy()
    moved[1, 3] += moved_mm
    write_case(raw, 1, *blocky(1), label_affine=moved)
    if apart is None:
        assert verify(raw)[0] == 0
        return
    only_problem(raw, f"{LABEL_NAME}: its affine differs from the image's by up to {apart} mm; ")


@pytest.mark.parametrize("name", ["imaging.nii.gz", LABEL_NAME])
@pytest.mark.parametrize("cut", [1, 9, 100])
def test_a_file_that_ends_early(raw: Path, name: str, cut: int) -> None:
    path = raw / "case_00001" / name
    path.write_bytes(path.read_bytes()[:-cut])
    only_problem(raw, f"{name}: is cut off after {path.stat().st_size} bytes; fetch it again")


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
    only_problem(raw, f"imaging.nii.gz: has a spacing of ({slices_mm}")


@pytest.mark.parametrize(
    ("width_mm", "thickness_mm", "fits"),
    [(0.8, 3.0, True), (0.8009, 3.0, True), (0.8011, 3.0, False), (0.8, 5.0, False), (None, 5.0, True)],
)
def test_spacing_as_kits21_and_kits23_publish_it(
    raw: Path, width_mm: float | None, thickness_mm: float, fits: bool
) -> None:
    entry = {"captured_pixel_width": width_mm, "captured_slice_thickness": thickness_mm}
    (raw / "kits.json").write_text(json.dumps([{"case_id": "case_00001", **entry}]))
    if fits:
        assert verify(raw)[0] == 0
        return
    only_problem(raw, "imaging.nii.gz: has a spacing of (")


def test_every_file_is_opened_once(raw: Path) -> None:
    opened: list[str] = []
    listening = [True]

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == "open" and str(arguments[0]).endswith(".nii.gz"):
            opened.append(str(arguments[0]))

    sys.addaudithook(hear)  # for good: nobody can take one away
    assert verify(raw)[0] == 0
    listening.clear()
    assert sorted(opened) == sorted(str(path) for path in raw.rglob("*.nii.gz"))


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


def problems_of(*overrides: str) -> list[str]:
    return find_problems("verify", ["root=x", *overrides])


def test_a_source_knows_its_cases(raw: Path) -> None:
    assert problems_of("source=kits23", "cases=450") == []
    assert problems_of("source=kits23", "cases=[7,0-588]") == []
    assert problems_of("source=kits23", "cases=350") == [
        "cases: 350 must lie in 0-299 or 400-588, the smaller number first"
    ]
    assert problems_of("source=kits21", "cases=test") == [
        "cases: test asks for nothing: this source has no such cases"
    ]
    refused = ["cases: 450 must lie in 0-299, the smaller number first"]
    assert problems_of("cases=450") == problems_of("source=kits21", "cases=450") == refused
    _, report = verify(raw, "source=kits23", "cases=all")
    assert len(report["cases"]) == 489 and report["cases"][-1]["id"] == "case_00588"
    _, report = verify(raw, "source=kits21", "cases=labelled")
    assert len(report["cases"]) == 300


@pytest.mark.parametrize(
    ("source", "number", "remedy"),
    [
        ("kits19", 5, "python -m kitsseg.download root=DIR cases=5 fetches it"),
        ("kits19", 588, "kitsseg.download has 0-299 alone: get it where the case came from"),
        ("kits21", 5, "https://github.com/neheller/kits21 says how to fetch it"),
        ("kits23", 588, "https://github.com/neheller/kits23 says how to fetch it"),
    ],
)
def test_a_source_says_where_a_missing_file_comes_from(
    raw: Path, source: str, number: int, remedy: str
) -> None:
    (raw / f"case_{number:05d}").mkdir()
    _, report = verify(raw, f"source={source}")
    problems = case(report, number)["problems"]
    assert len(problems) == 2
    assert all(problem.endswith(f".nii.gz: is missing; {remedy}") for problem in problems)


def test_cysts_are_read_by_another_source(raw: Path) -> None:
    image, label = blocky(1)
    label[4, 40:44, 40:44] = 3
    nib.save(nib.Nifti1Image(label, AFFINE), raw / "case_00001" / LABEL_NAME)
    assert verify(raw)[0] == 1
    code, report = verify(raw, "source=kits23")
    kidney = ((label == 1) | (label == 3)).sum() * 3 * 0.8 * 0.8 / 1000
    assert code == 0 and case(report, 1)["ml"]["kidney"] == pytest.approx(kidney, abs=1e-3)


def test_kits21_has_its_own_label_file(raw: Path) -> None:
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


@pytest.mark.parametrize("report", ["no/such/folder.json", "folder"])
def test_a_report_that_cannot_be_written_is_noticed_before_anything_is_read(
    raw: Path, tmp_path: Path, report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(parallel, "over_cases", lambda *args: pytest.fail("cases are read"))
    with pytest.raises(ValueError, match="report=.*name another file"):
        verify(raw, f"report={tmp_path}/{report}")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "raw"]


def test_a_label_whose_download_was_cut_off(raw: Path) -> None:
    (raw / "case_00001" / LABEL_NAME).rename(raw / "case_00001" / f".{LABEL_NAME}.part")
    _, report = verify(raw)
    assert case(report, 1)["problems"] == [
        f"{raw}/case_00001/{LABEL_NAME}: is missing (its download was cut off); "
        "python -m kitsseg.download root=DIR cases=1 fetches it"
    ]


def test_the_command(raw: Path) -> None:
    (raw / "case_00003" / LABEL_NAME).write_bytes(b"")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "kitsseg.verify", "root=raw", "workers=1"]
    done = subprocess.run(command, cwd=raw.parent, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "case_00003/segmentation.nii.gz: is empty; fetch it again" in done.stderr
    assert sorted(p.name for p in raw.parent.iterdir()) == ["raw", "verify.json"]
