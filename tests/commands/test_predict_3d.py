"""Tests of `kitsseg.predict` with 3D networks."""

import json
from pathlib import Path

import numpy as np
import pytest

from kitsseg.inference.segmenter import Segmenter
from tests.conftest import AFFINE, blocky
from tests.helpers.predicting import ct, predict, rows, values
from tests.inference.test_checkpoint_3d import trained3d


def test_a_2d_and_a_3d_network_are_averaged(guesser: Path, blocks: Path, tmp_path: Path) -> None:
    deep = trained3d(tmp_path / "deep.ckpt")
    arguments = ("cases=[0,1]", "overlap=0.25", "mirror_axes=[1]", "quicklook=false")
    assert predict([guesser, deep], blocks, tmp_path / "out", *arguments) == 0
    segmenter = Segmenter.load(
        [guesser, deep], mirror_axes=[1], device="cpu", precision="32-true", overlap=0.25
    )
    found = values(tmp_path / "out" / "case_00001.nii.gz")
    wanted = segmenter(blocks / "case_00001" / "imaging.nii.gz")
    assert (found != wanted).mean() < 1e-3 and np.bincount(wanted.ravel()).min() > 100
    assert json.loads((tmp_path / "out" / "predict.json").read_text())["settings"]["overlap"] == 0.25
    with pytest.raises(ValueError, match=r"made with other settings \(overlap\); use a new output"):
        predict([guesser, deep], blocks, tmp_path / "out", *arguments, "overlap=0", "skip_existing=true")
    with pytest.raises(ValueError, match="mirror_axes=.2. may hold .* 2 is for 3D networks only"):
        predict([guesser, deep], blocks, tmp_path / "x", "mirror_axes=[2]")
    assert predict(deep, blocks, tmp_path / "x", "mirror_axes=[2]", "cases=0") == 0


def test_settings_of_other_networks_have_no_effect(
    guesser: Path, blocks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert predict(guesser, blocks, tmp_path / "out", "cases=0") == 0
    path = tmp_path / "out" / "predict.json"
    record = json.loads(path.read_text())
    del record["settings"]["overlap"]  # as in the records of earlier versions
    path.write_text(json.dumps(record))
    assert (
        predict(guesser, blocks, tmp_path / "out", "cases=0", "overlap=0.1", "skip_existing=true") == 0
    )
    assert caplog.messages == ["overlap=0.1: has no effect; it is for 3D networks"]
    Segmenter.load(trained3d(tmp_path / "deep.ckpt"), crop=True)
    assert caplog.messages[1:] == ["crop=True: has no effect; it is for 2D networks"]


def test_a_wrong_spacing_is_one_line_and_the_others_are_segmented(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitsseg.system.hardware.free_memory", lambda device: 1e9)
    (tmp_path / "in").mkdir()
    ct(tmp_path / "in", "good.nii.gz", blocky(0)[0])
    ct(tmp_path / "in", "wrong.nii.gz", blocky(1)[0], AFFINE * [[60], [60], [1], [1]])  # pixels of 48 mm
    wrong = tmp_path / "in" / "wrong.nii.gz"
    deep = trained3d(tmp_path / "deep.ckpt")
    assert predict(deep, tmp_path / "in", tmp_path / "out") == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "GB" in line]
    assert len(lines) == 1 and f"{wrong}: its spacing of " in lines[0]
    assert lines[0].endswith("correct the spacing, or free memory")
    assert "correct the spacing" in rows(tmp_path / "out")["wrong"]["problem"]
    assert (tmp_path / "out" / "good.nii.gz").is_file()
    assert not (tmp_path / "out" / "wrong.nii.gz").exists()
    ct(tmp_path / "in", "wrong.nii.gz", blocky(1)[0])  # the remedy
    assert predict(deep, tmp_path / "in", tmp_path / "out", "skip_existing=true") == 0
