"""The command `kitsseg.predict`."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from kitsseg import checkpoint
from kitsseg.cli import find_problems
from kitsseg.config import CONFIG_DIR
from kitsseg.data import read_ahead
from kitsseg.data.contactsheet import HEADER, KIDNEY_COLOUR
from kitsseg.data.find_images import Scan
from kitsseg.data.kits19 import Case
from kitsseg.data.quicklook import telling_slices
from kitsseg.data.read_scan import read_scan
from kitsseg.predict import run
from kitsseg.segmenter import Segmenter
from tests.conftest import AFFINE, blocky, write_case
from tests.test_segmenter import trained


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that finds kidney and tumour at random, in a folder of its own."""
    return trained(tmp_path_factory.mktemp("checkpoint") / "x.ckpt", 64)


def predict(path: Path | list[Path], source: Path, output: Path, *overrides: str) -> int:
    listed = f"[{','.join(map(str, path))}]" if isinstance(path, list) else path
    given = [f"checkpoint={listed}", f"input={source}", f"output={output}", "device=cpu"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return run(compose("predict", [*given, "precision=32-true", *overrides]))


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "volumes.csv").open() as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def values(path: Path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


# ---- what comes out


def test_the_command_from_end_to_end(path: Path, blocks: Path, tmp_path: Path) -> None:
    arguments = [
        f"checkpoint={path}", f"input={blocks}", "output=out", "cases=[0,2]", "mirror_axes=[1]",
        "probabilities=true", "uncertainty=true", "postprocess=kidneys", "device=cpu",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "kitsseg.predict", *arguments], cwd=tmp_path, env=environment(),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["2 volumes segmented", "out/volumes.csv"]
    out = tmp_path / "out"
    written = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    folders = ("probability_kidney", "probability_tumour", "uncertainty")
    assert written == sorted(
        ["predict.json", "volumes.csv"]
        + [f"case_0000{n}.nii.gz" for n in (0, 2)]
        + [f"quicklook/case_0000{n}.png" for n in (0, 2)]
        + [f"{folder}/case_0000{n}.nii.gz" for folder in folders for n in (0, 2)]
    )
    about = json.loads((out / "predict.json").read_text())
    assert about["checkpoints"] == [str(path)] and about["settings"]["mirror_axes"] == [1]
    for case in ("case_00000", "case_00002"):
        label = nib.load(out / f"{case}.nii.gz")
        voxels = values(out / f"{case}.nii.gz")
        assert np.allclose(label.affine, AFFINE) and label.get_data_dtype() == np.uint8
        maps = [nib.load(out / folder / f"{case}.nii.gz").get_fdata() for folder in folders]
        kidney, tumour, uncertain = maps
        assert all(0 <= each.min() < each.max() < 1.00001 for each in maps)
        assert (kidney >= tumour - 1e-6).all()
        assert tumour[voxels == 2].min() > 0.33
        assert np.corrcoef(uncertain.ravel(), np.abs(kidney - 0.5).ravel())[0, 1] < 0
        row = rows(out)[case]
        assert float(row["kidney_ml"]) == pytest.approx((voxels > 0).sum() * 1.92e-3, abs=1e-3)
        assert float(row["tumour_ml"]) == pytest.approx((voxels == 2).sum() * 1.92e-3, abs=1e-3)
        assert (row["slices"], row["slice_mm"], row["column_mm"], row["problem"]) == (
            "6",
            "3",
            "0.8",
            "",
        )
        picture = cv2.imread(str(out / "quicklook" / f"{case}.png"))
        assert picture.shape[1] == 4 * 224
        assert (picture[HEADER:] == KIDNEY_COLOUR).all(axis=2).any()


def test_it_is_what_the_segmenter_gives(path: Path, blocks: Path, tmp_path: Path) -> None:
    other = trained(tmp_path / "y.ckpt", 32, seed=5)
    assert predict([path, other], blocks, tmp_path / "out", "quicklook=false", "mirror_axes=[0]") == 0
    segmenter = Segmenter.load([path, other], mirror_axes=[0], device="cpu", precision="32-true")
    for number in range(6):
        wanted = segmenter(blocks / f"case_0000{number}" / "imaging.nii.gz")
        assert np.array_equal(values(tmp_path / "out" / f"case_0000{number}.nii.gz"), wanted)
    assert not (tmp_path / "out" / "quicklook").exists()


def test_a_submission(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (7, 210, 299):
        write_case(tmp_path / "raw", number, *blocky(number))
    out = tmp_path / "out"
    assert predict(path, tmp_path / "raw", out, "submission=true", "cases=[210,299]") == 0
    with zipfile.ZipFile(out / "predictions.zip") as archive:
        assert archive.namelist() == ["prediction_00210.nii.gz", "prediction_00299.nii.gz"]
        assert archive.read("prediction_00210.nii.gz") == (out / archive.namelist()[0]).read_bytes()
    assert nib.load(out / "prediction_00210.nii.gz").shape == (6, 64, 64)
    assert predict(path, tmp_path / "raw", out, "submission=true", "skip_existing=true") == 1
    said = capsys.readouterr()
    assert said.err.count(": isn't in the input") == 88
    assert said.out.endswith("2 volumes segmented, 2 of them by an earlier run, 88 with problems\n"
                             f"{out}/volumes.csv\n")  # fmt: skip
    assert "predictions.zip isn't written" in said.err and not (out / "predictions.zip").exists()
    with pytest.raises(ValueError, match="cases: 7 is no test case; a submission holds 210-299"):
        predict(path, tmp_path / "raw", out, "submission=true", "cases=7")


# ---- oddities


def ct(folder: Path, name: str, image: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nib.save(nib.Nifti1Image(image, affine), folder / name)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Volumes of all kinds, good and bad, and a thousand files that are none."""
    folder = tmp_path / "odd"
    folder.mkdir()
    image = blocky(0)[0]
    ct(folder, "good.nii.gz", image)
    ct(folder, "one_slice.nii.gz", image[3:4])
    ct(folder, "sagittal.nii", np.ascontiguousarray(image.transpose(2, 0, 1)), AFFINE[:, [2, 0, 1, 3]])
    oblique = AFFINE.copy()
    oblique[:3, :3] = AFFINE[:3, :3] @ cv2.Rodrigues(np.array([0.2, 0.3, -0.1]))[0]
    ct(folder, "oblique.nii.gz", image, oblique)
    ct(folder, "huge.nii.gz", image.astype(np.float64) + 1e30 * (image > 150))
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


def test_oddities(path: Path, odd: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert predict(path, odd, tmp_path / "out") == 1
    said = capfd.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("kitsseg.predict: ")]
    texts = {
        "bad_2d.nii.gz": "has 2 dimensions",
        "bad_4d.nii.gz": "has 4 dimensions",
        "bad_cut.nii.gz": "is cut off after 5000 bytes",
        "bad_nan.nii.gz": "holds NaN or infinite values",
        "bad_offset.nii.gz": "CT stored with an offset, it seems; if so, add offset_hu=-1024",
        "bad_same.nii.gz": "every voxel has the same value",
        "bad_spacing.nii.gz": "has a spacing of",
        "bad_text.nii": "isn't NIfTI",
    }
    assert len(lines) == len(texts)
    for line, (name, text) in zip(sorted(lines), texts.items(), strict=True):
        assert line.startswith(f"kitsseg.predict: {odd / name}: ") and text in line
    assert "8 volumes segmented, 8 with problems; 1000 other files left alone" in said.out
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


def test_an_offset_is_taken_away_when_told(path: Path, odd: Path, tmp_path: Path) -> None:
    assert predict(path, odd / "bad_offset.nii.gz", tmp_path / "a", "offset_hu=-1024") == 0
    assert predict(path, odd / "good.nii.gz", tmp_path / "b") == 0
    first, second = tmp_path / "a" / "bad_offset.nii.gz", tmp_path / "b" / "good.nii.gz"
    assert np.array_equal(values(first), values(second))
    clipped = np.clip(blocky(0)[0], 0, None).astype(np.int16)  # windowed at its source: no offset
    ct(tmp_path, "clipped.nii.gz", clipped)
    assert read_scan(Scan("x", ".nii.gz", tmp_path / "clipped.nii.gz")).range_hu[0] == 0


# ---- again


def test_what_is_there_is_made_again_unless_asked(
    path: Path, blocks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    predict(path, blocks, out, "cases=[0-2]")
    for number in range(3):
        os.utime(out / f"case_0000{number}.nii.gz", (0, 0))
    (out / "case_00001.nii.gz").unlink()
    assert predict(path, blocks, out, "cases=[0-3]", "skip_existing=true") == 0
    times = [(out / f"case_0000{n}.nii.gz").stat().st_mtime for n in range(4)]
    assert [t == 0 for t in times] == [True, False, True, False] and len(rows(out)) == 4
    assert "4 volumes segmented, 2 of them by an earlier run" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"made with other settings \(mirror_axes\); use a new output"):
        predict(path, blocks, out, "skip_existing=true", "mirror_axes=[0]")
    predict(path, blocks, out, "cases=0")
    assert (out / "case_00000.nii.gz").stat().st_mtime > 0 and list(rows(out)) == ["case_00000"]


def test_a_killed_run_goes_on(path: Path, tmp_path: Path) -> None:
    for number in range(12):
        write_case(tmp_path / "raw", number, *blocky(number, 12, 128, 128))
    arguments = [f"checkpoint={path}", "input=raw", "output=out", "device=cpu", "skip_existing=true"]
    command = [sys.executable, "-m", "kitsseg.predict", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL)
    for _ in range(1200):
        if len(list(tmp_path.glob("out/case_*.nii.gz"))) >= 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("out/case_*.nii.gz")}
    assert len(there) >= 2
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "12 volumes segmented" in done.stdout and len(rows(tmp_path / "out")) == 12
    kept = [n for n, t in there.items() if (tmp_path / "out" / n).stat().st_mtime_ns == t]
    assert len(kept) >= len(there) - 1


# ---- refusals


def test_an_output_that_cannot_be_written(path: Path, blocks: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output in ("file", "file/out"):
        done = subprocess.run(
            [
                sys.executable, "-m", "kitsseg.predict", f"checkpoint={path}", f"input={blocks}",
                f"output={output}", "device=cpu",
            ],
            cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(f"kitsseg.predict: output={output}: ")
        assert done.stderr.endswith("; name another folder\n")


def test_an_image_is_never_overwritten(path: Path, odd: Path) -> None:
    with pytest.raises(ValueError, match="would overwrite .*; name another folder"):
        predict(path, odd, odd)


def test_a_checkpoint_that_is_none(blocks: Path, tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="x.ckpt: is not a checkpoint"):
        predict(tmp_path / "x.ckpt", blocks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("checkpoint=3", "checkpoint: expected a file or a list of files, got 3"),
        ("checkpoint=[]", "checkpoint: expected a file or a list of files, got []"),
        ("cases=300", "cases: 300 must lie in 0-299, the smaller number first"),
        ("mirror_axes=[2]", "mirror_axes: [2] may hold 0 (rows) and 1 (columns), each once"),
        ("offset_hu=1.5", "offset_hu: expected int, got 1.5"),
        ("offset_hu=-99999", "offset_hu: -99999 must lie in [-32768, 32767]"),
        ("precision=16", "precision: 16 must be one of auto, 32-true, bf16-mixed, 16-mixed"),
        ("postprocess=kidney", "postprocess=kidney: there's no such choice; did you mean kidneys?"),
        ("uncertainity=true", "uncertainity: no such key; did you mean uncertainty?"),
    ],
)
def test_mistakes_are_one_line(override: str, problem: str) -> None:
    (found,) = find_problems("predict", ["checkpoint=x", "input=y", "output=z", override])
    assert found.startswith(problem)


# ---- parts


def test_reading_ahead_is_in_order_and_keeps_problems_apart(
    block_cases: list[Case], tmp_path: Path
) -> None:
    scans = [Scan(case.id, ".nii.gz", case.image) for case in block_cases]
    scans[2] = Scan("x", ".nii.gz", tmp_path / "nosuch.nii.gz")
    with read_ahead.ReadAhead(scans) as ahead:
        for number, case in enumerate(block_cases):
            if number == 2:
                with pytest.raises(ValueError, match="nosuch.nii.gz: can't be read"):
                    ahead.take()
            else:
                assert np.array_equal(ahead.take().hu, values(case.image))


def test_the_next_is_read_while_this_one_is_computed_and_no_other(
    block_cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(read_ahead, "read_scan", lambda scan, offset: read.append(scan.name) or scan)
    with read_ahead.ReadAhead([Scan(c.id, ".nii.gz", c.image) for c in block_cases]) as ahead:
        for number in range(5):
            assert ahead.take().name == block_cases[number].id
            for _ in range(100):
                if len(read) > number + 1:
                    break
                time.sleep(0.01)
            time.sleep(0.01)
            assert len(read) == number + 2


def test_telling_slices() -> None:
    label = np.zeros((100, 4, 4), np.uint8)
    assert telling_slices(label, 3) == [0, 50, 99] or telling_slices(label, 3) == [0, 49, 99]
    label[20:41, 1, 1] = 1
    assert telling_slices(label, 3) == [20, 30, 40]
    label[28, 1, 1:3] = 2
    label[27, 1, 1] = 2
    assert telling_slices(label, 3) == [20, 28, 40]
    assert telling_slices(label[28:30], 12) == [0, 1]


def test_the_fixture_knows_three_classes(path: Path, blocks: Path) -> None:
    assert checkpoint.load(path).size == 64
    segmenter = Segmenter.load(path, device="cpu", precision="32-true")
    label = segmenter(blocks / "case_00000" / "imaging.nii.gz")
    assert np.bincount(label.ravel(), minlength=3).min() > 100


def test_dicom_in_labels_and_segmentation_objects_out(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("highdicom")
    from tests.data.test_dicom import write_series

    write_series(tmp_path / "in" / "a", "1.2.5.1")
    write_series(tmp_path / "in" / "b", "1.2.5.2", step=(0, 0.5, 2))
    write_series(tmp_path / "in" / "c", "1.2.5.3")
    (tmp_path / "in" / "c" / "IM3").unlink()
    (tmp_path / "in" / "readme.txt").touch()
    assert predict(path, tmp_path / "in", tmp_path / "out", "dicom_seg=true") == 1
    said = capfd.readouterr()
    assert "2 volumes segmented, 1 with problems; 1 other files left alone" in said.out
    assert "(series c): has slices 3 mm apart, but 6 mm after" in said.err
    label = nib.load(tmp_path / "out" / "a.nii.gz")
    assert label.shape == (56, 64, 6) and np.allclose(np.diag(label.affine), (-0.7, -0.8, 3, 1))
    assert sorted(p.name for p in (tmp_path / "out" / "dicom_seg").iterdir()) == ["a.dcm", "b.dcm"]
    assert float(rows(tmp_path / "out")["b"]["kidney_ml"]) == pytest.approx(
        (values(tmp_path / "out" / "b.nii.gz") > 0).sum() * 0.8 * 0.7 * 2 / 1000, abs=1e-3
    )


def test_dicom_seg_of_nifti_has_no_effect(
    path: Path, blocks: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert predict(path, blocks, tmp_path / "out", "dicom_seg=true", "cases=0") == 0
    assert "dicom_seg=true has no effect: the input isn't DICOM" in capfd.readouterr().err


def test_a_full_disk_stops_it_and_it_goes_on(
    path: Path, blocks: Path, small_disk: Path, tmp_path: Path
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(180_000))
    arguments = [f"checkpoint={path}", f"input={blocks}", f"output={small_disk}/out", "device=cpu"]
    arguments += ["skip_existing=true", "cases=[0-3]", "quicklook=false"]
    command = [sys.executable, "-m", "kitsseg.predict", *arguments]
    run_it = {"cwd": tmp_path, "env": environment(), "capture_output": True, "text": True}
    done = subprocess.run(command, **run_it)
    assert done.returncode == 1
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("kitsseg")]
    assert line.endswith("No space left on device; skip_existing=true goes on from here")
    assert not list((small_disk / "out").rglob(".*"))  # nothing half-written is left
    filler.unlink()
    done = subprocess.run(command, **run_it)
    assert done.returncode == 0, done.stderr
    assert len(list((small_disk / "out").glob("case_*.nii.gz"))) == 4
