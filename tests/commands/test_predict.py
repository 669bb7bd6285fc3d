"""Tests of `kitsseg.predict`: its output files and its errors."""

import json
import shutil
import zipfile
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.drawing import HEADER, bgr
from kitsseg.data.labels import KITS19
from kitsseg.inference import checkpoint
from kitsseg.inference.segmenter import Segmenter
from tests.conftest import AFFINE, blocky, write_case
from tests.helpers import forks
from tests.helpers.commands import find_problems
from tests.helpers.predicting import predict, rows, values
from tests.inference.test_segmenter import trained


def test_command_end_to_end(guesser: Path, blocks: Path, tmp_path: Path) -> None:
    arguments = [
        f"checkpoint={guesser}", f"input={blocks}", "output=out", "cases=[0,2]", "mirror_axes=[1]",
        "probabilities=true", "uncertainty=true", "postprocess=kidneys", "device=cpu",
    ]  # fmt: skip
    done = forks.command(tmp_path, *arguments, name="kitsseg.predict")
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
    assert about["checkpoints"] == [str(guesser)] and about["settings"]["mirror_axes"] == [1]
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
        assert (picture[HEADER:] == bgr(KITS19, 1)).all(axis=2).any()


def test_command_gives_the_same_labels_as_the_segmenter(
    guesser: Path, blocks: Path, tmp_path: Path
) -> None:
    other = trained(tmp_path / "y.ckpt", 32, seed=5)
    assert predict([guesser, other], blocks, tmp_path / "out", "quicklook=false", "mirror_axes=[0]") == 0
    segmenter = Segmenter.load([guesser, other], mirror_axes=[0], device="cpu", precision="32-true")
    for number in range(6):
        wanted = segmenter(blocks / f"case_0000{number}" / "imaging.nii.gz")
        assert np.array_equal(values(tmp_path / "out" / f"case_0000{number}.nii.gz"), wanted)
    assert not (tmp_path / "out" / "quicklook").exists()


def test_submission_contains_the_test_cases(
    guesser: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (7, 210, 299):
        write_case(tmp_path / "raw", number, *blocky(number))
    out = tmp_path / "out"
    assert predict(guesser, tmp_path / "raw", out, "submission=true", "cases=[210,299]") == 0
    with zipfile.ZipFile(out / "predictions.zip") as archive:
        assert archive.namelist() == ["prediction_00210.nii.gz", "prediction_00299.nii.gz"]
        assert archive.read("prediction_00210.nii.gz") == (out / archive.namelist()[0]).read_bytes()
    assert nib.load(out / "prediction_00210.nii.gz").shape == (6, 64, 64)
    assert predict(guesser, tmp_path / "raw", out, "submission=true", "skip_existing=true") == 1
    said = capsys.readouterr()
    assert said.err.count(": not in the input") == 88
    assert said.out.endswith("2 volumes segmented, 2 of them by an earlier run, 88 with problems\n"
                             f"{out}/volumes.csv\n")  # fmt: skip
    assert "predictions.zip is not written" in said.err and not (out / "predictions.zip").exists()
    with pytest.raises(ValueError, match="cases: 7 is not a test case; a submission holds 210-299"):
        predict(guesser, tmp_path / "raw", out, "submission=true", "cases=7")
    with pytest.raises(ValueError, match="submission=true: the input has none of the requested test"):
        predict(guesser, tmp_path / "raw" / "case_00007", tmp_path / "other", "submission=true")
    assert not (tmp_path / "other").exists()


def test_unwritable_output_is_reported_in_one_line(guesser: Path, blocks: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output in ("file", "file/out"):
        line = [f"checkpoint={guesser}", f"input={blocks}", f"output={output}", "device=cpu"]
        done = forks.command(tmp_path, *line, name="kitsseg.predict")
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(f"kitsseg.predict: output={output}: ")
        assert done.stderr.endswith("; name another folder\n")


def test_path_with_asterisk_averages_all_checkpoints(
    guesser: Path, blocks: Path, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("fold-1", "fold-0")]
    for folder in folders:
        folder.mkdir()
        shutil.copy(guesser, folder / "best.ckpt")
    predict(tmp_path / "fold-*" / "best.ckpt", blocks, tmp_path / "out", "cases=[0]")
    about = json.loads((tmp_path / "out" / "predict.json").read_text())
    assert about["checkpoints"] == [str(folder / "best.ckpt") for folder in reversed(folders)]
    with pytest.raises(ValueError, match=r"checkpoint=.*/\*.onnx: no such files"):
        predict(tmp_path / "*.onnx", blocks, tmp_path / "other")


def test_file_that_is_not_a_checkpoint_is_rejected(blocks: Path, tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="x.ckpt: not a loadable checkpoint"):
        predict(tmp_path / "x.ckpt", blocks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("checkpoint=3", "checkpoint=3: must be a file or a list of files"),
        ("checkpoint=[]", "checkpoint=[]: must be a file or a list of files"),
        ("cases=[]", "cases=[]: must be a case id, a number, a range (0-41) or a list of these"),
        ("cases=[1.5]", "cases=[1.5]: must be a case id, a number, a range (0-41) or a list of these"),
        (
            "mirror_axes=[3]",
            "mirror_axes=[3]: may contain 0 (rows), 1 (columns) and, for 3D networks, 2 (slices), "
            "each once",
        ),
        ("overlap=1", "overlap=1.0: must be at least 0 and below 1"),
        (
            "offset_hu=1.5",
            "offset_hu=1.5: Value '1.5' of type 'float' could not be converted to Integer",
        ),
        ("offset_hu=-99999", "offset_hu=-99999: must be between -32768 and 32767"),
        ("precision=16", "precision=16: must be one of auto, 32-true, bf16-mixed, 16-mixed"),
        ("postprocess=kidney", "postprocess=kidney: no such choice; did you mean kidneys?"),
        ("uncertainity=true", "uncertainity: no such key; did you mean uncertainty?"),
        ("runtime=onnx", "runtime: no such key"),
    ],
)
def test_mistake_is_reported_in_one_line(override: str, problem: str) -> None:
    (found,) = find_problems("predict", ["checkpoint=x", "input=y", "output=z", override])
    assert found.startswith(problem)


def test_fixture_predicts_three_classes(guesser: Path, blocks: Path) -> None:
    assert checkpoint.load(guesser).size == 64
    segmenter = Segmenter.load(guesser, device="cpu", precision="32-true")
    label = segmenter(blocks / "case_00000" / "imaging.nii.gz")
    assert np.bincount(label.ravel(), minlength=3).min() > 100
