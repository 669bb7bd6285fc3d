"""Tests of `kitsseg.predict` on valid and invalid volumes."""

import json
import os
import re
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.io.read_scan import read_scan
from kitsseg.data.io.scan import Scan
from kitsseg.inference.record import OutputFiles
from tests.conftest import AFFINE, blocky, write_case
from tests.helpers import forks
from tests.helpers.predicting import ct, predict, rows, values


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Return a folder with valid and invalid volumes and a thousand other files."""
    folder = tmp_path / "odd"
    folder.mkdir()
    image = blocky(0)[0]
    ct(folder, "good.nii.gz", image)
    ct(folder, "one_slice.nii.gz", image[3:4])
    ct(folder, "sagittal.nii", np.ascontiguousarray(image.transpose(2, 0, 1)), AFFINE[:, [2, 0, 1, 3]])
    oblique = AFFINE.copy()
    oblique[:3, :3] = AFFINE[:3, :3] @ cv2.Rodrigues(np.array([0.2, 0.3, -0.1]))[0]
    ct(folder, "oblique.nii.gz", image, oblique)
    ct(folder, "bad_huge.nii.gz", image.astype(np.float64) + 1e30 * (image > 150))
    ct(folder, "slope.nii.gz", image)
    scaled = nib.Nifti1Image((image + 1024).astype(np.uint16), AFFINE)
    scaled.header.set_slope_inter(1, -1024)
    nib.save(scaled, folder / "slope.nii.gz")
    ct(folder, "tall.nii.gz", np.pad(image, ((0, 0), (40, 5), (0, 3)), constant_values=-1024))
    ct(folder, "axis.nii.gz", image[..., None])
    ct(folder, "bad_4d.nii.gz", np.stack([image, image], -1))
    ct(folder, "bad_2d.nii.gz", image[0])
    ct(folder, "bad_nan.nii.gz", np.where(image > 150, np.nan, image).astype(np.float32))
    zero = nib.Nifti1Image(image, AFFINE)
    zero.set_sform(np.diag([0.0, 0.8, 3.0, 1]), 1)
    nib.save(zero, folder / "bad_spacing.nii.gz")
    ct(folder, "bad_offset.nii.gz", (image + 1024).astype(np.uint16))
    ct(folder, "bad_same.nii.gz", np.zeros_like(image))
    (folder / "bad_cut.nii.gz").write_bytes((folder / "good.nii.gz").read_bytes()[:5000])
    (folder / "bad_text.nii").write_text("not a volume")
    for number in range(1000):
        (folder / f"{number}.txt").touch()
    return folder


def test_valid_and_invalid_volumes_in_one_folder(
    guesser: Path, odd: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert predict(guesser, odd, tmp_path / "out") == 1
    said = capfd.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("kitsseg.predict: ")]
    texts = {
        "bad_2d.nii.gz": "has 2 dimensions",
        "bad_4d.nii.gz": "has 4 dimensions",
        "bad_cut.nii.gz": "is truncated after 5000 bytes",
        "bad_huge.nii.gz": "outside the range of HU",
        "bad_nan.nii.gz": "contains NaN or infinite values",
        "bad_offset.nii.gz": "probably CT stored with an offset; add offset_hu=-1024",
        "bad_same.nii.gz": "every voxel has the same value",
        "bad_spacing.nii.gz": "has a spacing of",
        "bad_text.nii": "is not a NIfTI file",
    }
    assert len(lines) == len(texts)
    for line, (name, text) in zip(sorted(lines), texts.items(), strict=True):
        assert line.startswith(f"kitsseg.predict: {odd / name}: ") and text in line
    assert "7 volumes segmented, 9 with problems; ignored: 0.txt, 1.txt, 10.txt" in said.out
    assert "and 995 more" in said.out
    out = tmp_path / "out"
    good = [p.name for p in odd.iterdir() if ".nii" in p.name and not p.name.startswith("bad")]
    assert sorted(p.name for p in out.iterdir() if ".nii" in p.name) == sorted(good)
    for name in good:
        image, label = nib.load(odd / name), nib.load(out / name)
        assert label.shape == image.shape and np.array_equal(label.affine, image.affine)
    turned = values(out / "sagittal.nii").transpose(1, 2, 0)
    same = (turned == values(out / "good.nii.gz")).mean()
    assert same == 1 and np.array_equal(values(out / "slope.nii.gz"), values(out / "good.nii.gz"))
    assert rows(out)["bad_nan"]["problem"].endswith("export it again")


def test_offset_hu_is_added(guesser: Path, odd: Path, tmp_path: Path) -> None:
    assert predict(guesser, odd / "bad_offset.nii.gz", tmp_path / "a", "offset_hu=-1024") == 0
    assert predict(guesser, odd / "good.nii.gz", tmp_path / "b") == 0
    first, second = tmp_path / "a" / "bad_offset.nii.gz", tmp_path / "b" / "good.nii.gz"
    assert np.array_equal(values(first), values(second))
    clipped = np.clip(blocky(0)[0], -100, None).astype(np.int16)  # windowed, without an offset
    ct(tmp_path, "clipped.nii.gz", clipped)
    assert read_scan(Scan("x", ".nii.gz", tmp_path / "clipped.nii.gz")).range_hu[0] == -100


def test_warnings_are_printed_and_recorded(
    guesser: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ct(tmp_path, "clipped.nii.gz", np.clip(blocky(0)[0], -100, None).astype(np.int16))
    assert predict(guesser, tmp_path / "clipped.nii.gz", tmp_path / "out") == 0
    text = "lowest value -100 HU: no air; check that the values are HU"
    assert f"kitsseg.predict: warning: {tmp_path / 'clipped.nii.gz'}: {text}" in capfd.readouterr().err
    (scan,) = json.loads((tmp_path / "out" / "predict.json").read_text())["scans"].values()
    assert scan["warnings"] == [text] and rows(tmp_path / "out")["clipped"]["warnings"] == text


def test_file_name_that_is_not_utf8(guesser: Path, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    ct(tmp_path, "x.nii.gz", blocky(0)[0])
    os.rename(os.fsencode(tmp_path / "x.nii.gz"), folder + b"/M\xfcller.nii.gz")
    ct(tmp_path / "in", "z.nii.gz", blocky(0)[0])
    line = [f"checkpoint={guesser}", "input=in", "output=out"]
    done = forks.command(tmp_path, *line, name="kitsseg.predict")
    assert done.returncode == 0, done.stderr
    assert os.path.isfile(os.fsencode(tmp_path / "out") + b"/M\xfcller.nii.gz")
    assert b"\nM\xfcller," in (tmp_path / "out" / "volumes.csv").read_bytes()
    assert (tmp_path / "out" / "z.nii.gz").is_file()


def test_an_image_is_never_overwritten(guesser: Path, odd: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="would overwrite .*; name another folder"):
        predict(guesser, odd, odd)
    odd.rename(tmp_path / "uncertainty")  # nor by another result than the label
    with pytest.raises(ValueError, match="would overwrite .*; name another folder"):
        predict(guesser, tmp_path / "uncertainty", tmp_path, "uncertainty=true")
    assert predict(guesser, tmp_path / "uncertainty" / "good.nii.gz", tmp_path) == 0


def test_the_folder_of_the_input_takes_no_results(guesser: Path, tmp_path: Path) -> None:
    """nnU-Net's images would lie beside labels without ``_0000``, which the next run would read."""
    folder = tmp_path / "imagesTs"
    folder.mkdir()
    ct(folder, "a_0000.nii.gz", blocky(0)[0])
    with pytest.raises(ValueError, match="is the folder of the input, so .*; name another folder"):
        predict(guesser, folder, folder)
    assert [path.name for path in folder.iterdir()] == ["a_0000.nii.gz"]
    assert predict(guesser, folder, folder / "results", "quicklook=false") == 0


def test_requested_case_with_two_files_is_reported(
    guesser: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("case_00001.nii", "case_00001.nii.gz"):
        ct(tmp_path / "in", name, blocky(0)[0])
    assert predict(guesser, tmp_path / "in", tmp_path / "out", "cases=1") == 1
    said = capfd.readouterr().err
    assert said.count("its results would be named case_00001") == 2 and "not in the input" not in said


def test_dicom_input_gives_labels_and_segmentation_objects(
    guesser: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("highdicom")
    from tests.helpers.dicom import write_series

    write_series(tmp_path / "in" / "a", "1.2.5.1")
    write_series(tmp_path / "in" / "b", "1.2.5.2", step=(0, 0.5, 2))
    write_series(tmp_path / "in" / "c", "1.2.5.3")
    (tmp_path / "in" / "c" / "IM3").unlink()
    (tmp_path / "in" / "readme.txt").touch()
    assert predict(guesser, tmp_path / "in", tmp_path / "out", "dicom_seg=true") == 1
    said = capfd.readouterr()
    assert "2 volumes segmented, 1 with problems; ignored: readme.txt" in said.out
    assert "(series c): has slices 3 mm apart, but 6 mm after" in said.err
    label = nib.load(tmp_path / "out" / "a.nii.gz")
    assert label.shape == (56, 64, 6) and np.allclose(np.diag(label.affine), (-0.7, -0.8, 3, 1))
    assert sorted(p.name for p in (tmp_path / "out" / "dicom_seg").iterdir()) == ["a.dcm", "b.dcm"]
    assert float(rows(tmp_path / "out")["b"]["kidney_ml"]) == pytest.approx(
        (values(tmp_path / "out" / "b.nii.gz") > 0).sum() * 0.8 * 0.7 * 2 / 1000, abs=1e-3
    )


def test_failed_optional_file_does_not_affect_the_label(
    guesser: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("highdicom")
    from tests.helpers.dicom import write_series

    write_series(tmp_path / "in" / "bad", "1.2.5.1", FrameOfReferenceUID=None)
    write_series(
        tmp_path / "in" / "good", "1.2.5.2", StudyID=None, SpecificCharacterSet=["", "ISO 2022 IR 87"]
    )
    assert predict(guesser, tmp_path / "in", tmp_path / "out", "dicom_seg=true") == 1
    assert sorted(p.name for p in (tmp_path / "out").glob("*.nii.gz")) == ["bad.nii.gz", "good.nii.gz"]
    assert [p.name for p in (tmp_path / "out" / "dicom_seg").iterdir()] == ["good.dcm"]
    said = capfd.readouterr()
    assert re.search(
        r"bad \(series bad\): no DICOM SEG \(.*\); the label volume is complete; ", said.err
    )
    assert "2 volumes segmented" not in said.out and "HYDRA" not in said.out + said.err
    assert rows(tmp_path / "out")["bad"]["kidney_ml"] == rows(tmp_path / "out")["good"]["kidney_ml"]


def test_tilted_gantry_has_the_same_position_in_itk(guesser: Path, tmp_path: Path) -> None:
    """The label has no qform, and all readers agree on the upright image and label."""
    sitk = pytest.importorskip("SimpleITK")
    from tests.helpers.dicom import write_series

    write_series(tmp_path / "in", "1.2.5.1", step=(0, 2.5, 3))
    assert predict(guesser, tmp_path / "in", tmp_path / "out", "upright=true") == 0
    assert int(nib.load(tmp_path / "out" / "in.nii.gz").header["qform_code"]) == 0
    tilted, upright = nib.load(tmp_path / "out/in.nii.gz"), nib.load(tmp_path / "out/upright/in.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "out/upright_image/in.nii.gz"))
    for corner in ((0, 0, 0), (5, 9, 4)):
        place = np.array(image.TransformIndexToPhysicalPoint(corner)) * (-1, -1, 1)
        assert np.allclose(place, (upright.affine @ (*corner, 1))[:3], atol=1e-4)
    voxels = [np.asanyarray(v.dataobj) for v in (tilted, upright)]
    assert (voxels[0] > 0).sum() == (voxels[1] > 0).sum() > 0
    (tmp_path / "out/upright/in.nii.gz").unlink()
    assert predict(guesser, tmp_path / "in", tmp_path / "out", "upright=true", "skip_existing=true") == 0
    assert (tmp_path / "out/upright/in.nii.gz").is_file()
    centres = [
        (v.affine @ [*np.argwhere(array > 0).mean(0), 1])[:3]
        for v, array in zip((tilted, upright), voxels, strict=True)
    ]
    assert np.abs(centres[0] - centres[1]).max() < 0.5  # half a pixel


def test_names_of_results_differ(tmp_path: Path) -> None:
    """Whatever the scans are called, such as ct and ct_image."""
    files = OutputFiles(tmp_path, False, True, True, True, True, True)
    scans = [Scan(name, ".nii.gz", tmp_path, (tmp_path,)) for name in ("ct", "ct_image", "upright")]
    paths = [path for scan in scans for path in (files.label(scan), *files.optional(scan).values())]
    assert len(paths) == len({str(path).casefold() for path in paths}) == 3 * 8


def test_an_input_in_upper_case_is_not_overwritten(guesser: Path, tmp_path: Path) -> None:
    """Its label would be CT.nii.gz, which is the same file on Windows and macOS."""
    ct(tmp_path, "CT.nii.gz", blocky(0)[0])
    (tmp_path / "CT.nii.gz").rename(tmp_path / "CT.NII.GZ")
    with pytest.raises(ValueError, match="would overwrite .*; name another folder"):
        predict(guesser, tmp_path / "CT.NII.GZ", tmp_path)


@pytest.mark.parametrize("name", ["segmentation.nii.gz", "aggregated_MAJ_seg.nii.gz"])
def test_a_case_without_an_image(guesser: Path, tmp_path: Path, name: str) -> None:
    case = write_case(tmp_path, 0, *blocky(0))
    case.label.rename(case.label.with_name(name))
    case.image.unlink()
    assert predict(guesser, case.image.parent, tmp_path / "out") == 1
    wanted = f"{case.image}: is missing; fetch it, or give the image of the case this name"
    assert [row["problem"] for row in rows(tmp_path / "out").values()] == [wanted]


def test_dicom_seg_of_nifti_has_no_effect(
    guesser: Path, blocks: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert predict(guesser, blocks, tmp_path / "out", "dicom_seg=true", "cases=0") == 0
    assert "dicom_seg=true has no effect: the input is not DICOM" in capfd.readouterr().err
