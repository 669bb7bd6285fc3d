"""Predictions that cannot be evaluated are reported in one line each; the others are evaluated."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import AFFINE, blocky
from tests.helpers.evaluating import evaluate, record, rows, save

pytest_plugins = ("tests.helpers.evaluating",)


def spoil(folder: Path, label: np.ndarray) -> dict[str, str]:
    """Make five predictions unusable in different ways; return part of the expected message of each."""
    save(folder / "case_00000.nii.gz", label[:-1])
    (folder / "prediction_00001.nii.gz").unlink()
    save(folder / "KiTS_00002_0000.nii.gz", label + np.uint8(1))
    save(folder / "case_00003.nii.gz", label.astype(np.float32) * 0.9)
    save(folder / "prediction_00004.nii.gz", np.stack([label, label], axis=-1))
    return {
        "case_00000": "has shape (5, 64, 64), its truth (6, 64, 64)",
        "case_00001": "no prediction; missing=zero",
        "case_00002": "contains labels [3] in ",
        "case_00003": "contains labels [0.8999",
        "case_00004": "dimensions",
    }


def test_malformed_predictions_are_reported_and_others_are_scored(
    blocks: Path, predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = spoil(predicted, blocky(0)[1])
    save(predicted / "case_00077.nii.gz", blocky(0)[1])
    (predicted / "mean.nii.gz").touch()
    expected["case_00077"] = "no ground truth; use cases="
    expected["mean.nii.gz"] = "no case id in the file name"
    assert evaluate(predicted, blocks, tmp_path / "out") == 1
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("kitsseg.evaluate: ")]
    assert len(lines) == len(expected)
    for line, (name, part) in zip(lines, expected.items(), strict=True):
        assert line.startswith(f"kitsseg.evaluate: {name}: ") and part in line
    assert captured.out.startswith("1 of 7 cases evaluated")
    out = record(tmp_path / "out")
    assert list(out["cases"]) == ["case_00005"] and out["missing"] == ["case_00001"]
    assert list(out["problems"]) == list(expected)
    assert [row["problem"] != "" for row in rows(tmp_path / "out").values()] == [True] * 5 + [
        False,
        True,
        True,
    ]


def test_two_files_for_one_case_are_reported(blocks: Path, predicted: Path, tmp_path: Path) -> None:
    save(predicted / "KiTS_00000.nii.gz", blocky(0)[1])
    assert evaluate(predicted, blocks, tmp_path / "out") == 1
    (problem,) = record(tmp_path / "out")["problems"].items()
    assert problem == (
        "case_00000",
        f"{predicted}: 2 files for this case, KiTS_00000.nii.gz and case_00000.nii.gz; "
        "remove all but one",
    )


def test_prediction_on_another_grid_is_reported(blocks: Path, predicted: Path, tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 5
    save(predicted / "case_00000.nii.gz", blocky(0)[1], moved)
    assert evaluate(predicted, blocks, tmp_path / "out") == 1
    assert record(tmp_path / "out")["problems"]["case_00000"].endswith(
        "case_00000.nii.gz: its affine differs from the truth's by up to 5 mm; write it on the grid of "
        "the case's own image"
    )


def test_cysts_count_as_kidney_in_later_data_sets(tmp_path: Path) -> None:
    label = blocky(0)[1]
    cysts = label.copy()
    cysts[2, 60:62, 60:62] = 3
    for folder in ("truth", "predicted"):
        (tmp_path / folder).mkdir()
    save(tmp_path / "truth" / "case_00000.nii.gz", cysts)
    save(tmp_path / "predicted" / "case_00000.nii.gz", label)
    given = (tmp_path / "predicted", tmp_path / "truth", tmp_path / "out")
    assert evaluate(*given) == 1
    assert evaluate(*given, "source=kits23") == 0
    voxels = record(tmp_path / "out")["cases"]["case_00000"]["voxels"]
    assert voxels["kidney"][2] == (label > 0).sum() + 4
    assert voxels["tumour"] == [128, 128, 128]


def test_strict_stops_at_the_first_problem_and_writes_nothing(
    blocks: Path, predicted: Path, tmp_path: Path
) -> None:
    save(predicted / "prediction_00001.nii.gz", blocky(0)[1][:-1])
    with pytest.raises(ValueError, match=r"^case_00001: .*has shape \(5, 64, 64\)"):
        evaluate(predicted, blocks, tmp_path / "out", "strict=true")
    (predicted / "case_00000.nii.gz").unlink()
    with pytest.raises(ValueError, match="^case_00000: no prediction"):
        evaluate(predicted, blocks, tmp_path / "out", "strict=true")
    assert not list((tmp_path / "out").iterdir())


def test_missing_case_is_scored_as_empty(
    blocks: Path, predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (predicted / "case_00000.nii.gz").unlink()
    assert evaluate(predicted, blocks, tmp_path / "out", "missing=zero") == 0
    out = record(tmp_path / "out")
    case = out["cases"]["case_00000"]
    assert set(case["dice"].values()) == {0} and case["detected"] is False
    assert case["volume_ml"]["tumour"]["error"] == pytest.approx(-128 * 1.92e-3)
    assert out["missing"] == ["case_00000"] and out["problems"] == {}
    assert "no prediction, scored as empty: case_00000\n" in capsys.readouterr().out
