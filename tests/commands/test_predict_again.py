"""Tests of `kitsseg.predict` after an interruption, a kill and a full disk."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from kitsseg.inference.record import PredictionRecord, write_zip
from tests.conftest import AFFINE, blocky, write_case
from tests.helpers import forks
from tests.helpers.predicting import ct, environment, predict, rows


def test_existing_results_are_kept_only_with_skip_existing(
    guesser: Path, blocks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    predict(guesser, blocks, out, "cases=[0-2]")
    for number in range(3):
        os.utime(out / f"case_0000{number}.nii.gz", (0, 0))
    (out / "case_00001.nii.gz").unlink()
    assert predict(guesser, blocks, out, "cases=[0-3]", "skip_existing=true") == 0
    times = [(out / f"case_0000{n}.nii.gz").stat().st_mtime for n in range(4)]
    assert [t == 0 for t in times] == [True, False, True, False] and len(rows(out)) == 4
    assert "4 volumes segmented, 2 of them by an earlier run" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"made with other settings \(mirror_axes\); use a new output"):
        predict(guesser, blocks, out, "skip_existing=true", "mirror_axes=[0]")
    predict(guesser, blocks, out, "cases=0")
    assert (out / "case_00000.nii.gz").stat().st_mtime > 0 and len(rows(out)) == 4
    predict(guesser, blocks, out, "cases=0", "mirror_axes=[0]")
    assert list(rows(out)) == ["case_00000"]  # other settings start a new record


@pytest.mark.parametrize("content", ["{", "[]", '{"settings": {}, "scans": {"a": 1}}'])
def test_a_damaged_record_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "predict.json").write_text(content)
    with pytest.raises(ValueError, match="predict.json: not a record of predictions .*; use a new outp"):
        PredictionRecord(tmp_path, {}, {}, keep=True)
    PredictionRecord(tmp_path, {}, {}, keep=False)


def test_results_of_another_input_are_not_reused(guesser: Path, tmp_path: Path) -> None:
    """A label belongs to the content of its image, not to its name."""
    out = tmp_path / "out"
    for patient in (1, 2):
        (tmp_path / f"{patient}").mkdir()
        ct(tmp_path / f"{patient}", "ct.nii.gz", blocky(patient)[0])
    assert predict(guesser, tmp_path / "1", out, "skip_existing=true") == 0
    first = (out / "ct.nii.gz").read_bytes()
    assert predict(guesser, tmp_path / "2", out, "skip_existing=true") == 0
    second = (out / "ct.nii.gz").read_bytes()
    assert second != first
    for damage in (b"", second[:-1]):
        (out / "ct.nii.gz").write_bytes(damage)
        assert predict(guesser, tmp_path / "2", out, "skip_existing=true") == 0
        assert (out / "ct.nii.gz").read_bytes() == second
    (tmp_path / "2" / "ct.nii.gz").write_bytes(b"")
    assert predict(guesser, tmp_path / "2", out, "skip_existing=true") == 1
    assert not (out / "ct.nii.gz").exists() and not (out / "quicklook" / "ct.png").exists()
    assert "is empty" in rows(out)["ct"]["problem"]


def test_optional_files_of_another_input_are_removed(guesser: Path, tmp_path: Path) -> None:
    """So are those of other settings, which would not show the present label."""
    out, source = tmp_path / "out", tmp_path / "ct.nii.gz"
    tilted = AFFINE.copy()
    tilted[1, 0] = 1.9
    ct(tmp_path, "ct.nii.gz", blocky(1)[0], tilted)
    assert predict(guesser, source, out, "upright=true") == 0
    assert len(list(out.rglob("upright*/ct.nii.gz"))) == 2
    ct(tmp_path, "ct.nii.gz", blocky(2)[0])
    assert predict(guesser, source, out, "upright=true") == 0
    assert not list(out.rglob("upright*/ct.nii.gz")) and (out / "quicklook/ct.png").exists()
    assert predict(guesser, source, out, "quicklook=false") == 0
    assert not (out / "quicklook/ct.png").exists() and (out / "ct.nii.gz").exists()


@pytest.mark.parametrize("option", [[], ["skip_existing=true"], ["cases=[0-9]"]])
def test_problems_that_are_gone_leave_the_record(
    guesser: Path, tmp_path: Path, option: list[str]
) -> None:
    """Whether the file was repaired or removed; problems of other inputs and cases stay."""
    folder, other, out = tmp_path / "in", tmp_path / "other", tmp_path / "out"
    for place in (folder, other):
        place.mkdir()
        ct(place, "KiTS_00001.nii.gz", blocky(0)[0])
    for name in ("KiTS_00002.nii.gz", "case_00003.nii.gz", "KiTS_00099.nii.gz"):
        (folder / name).symlink_to("nosuch")
    (other / "KiTS_00005.nii.gz").symlink_to("nosuch")
    for name in ("case_00004.nii", "case_00004.nii.gz"):
        ct(folder, name, blocky(4)[0])
    (folder / "KiTS_00006.nii.gz").write_bytes(b"")
    assert predict(guesser, other, out) == 1 and predict(guesser, folder, out) == 1
    assert set(rows(out)) == {
        "KiTS_00001", "KiTS_00002", "case_00003", "KiTS_00005", "KiTS_00006", "KiTS_00099",
        f"{folder}/case_00004.nii", f"{folder}/case_00004.nii.gz",
    }  # fmt: skip
    for name in ("KiTS_00002.nii.gz", "case_00003.nii.gz", "case_00004.nii", "KiTS_00006.nii.gz"):
        (folder / name).unlink()
    if not option or not option[0].startswith("cases"):
        (folder / "KiTS_00099.nii.gz").unlink()
    ct(folder, "KiTS_00002.nii.gz", blocky(2)[0])
    predict(guesser, folder, out, *option)
    found = {name: row["problem"] for name, row in rows(out).items()}
    if option == ["cases=[0-9]"]:
        assert "is a link to nosuch" in found.pop("KiTS_00099")
        missing = [f"case_0000{n}" for n in (0, 3, 5, 6, 7, 8, 9)]
        assert [found.pop(name) for name in missing] == [f"{name}: not in the input" for name in missing]
    assert "is a link to nosuch" in found.pop("KiTS_00005")
    assert found == {"KiTS_00001": "", "KiTS_00002": "", "case_00004": ""}


def test_a_broken_link_removes_the_former_result(guesser: Path, tmp_path: Path) -> None:
    ct(tmp_path, "ct.nii.gz", blocky(1)[0])
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ct.nii.gz").symlink_to(tmp_path / "ct.nii.gz")
    assert predict(guesser, tmp_path / "in", tmp_path / "out") == 0
    (tmp_path / "ct.nii.gz").unlink()
    assert predict(guesser, tmp_path / "in", tmp_path / "out") == 1
    assert list(rows(tmp_path / "out")) == ["ct"] and not (tmp_path / "out" / "ct.nii.gz").exists()


def test_an_interrupted_submission_leaves_no_archive(
    guesser: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_case(tmp_path / "raw", 210, *blocky(0))
    out = tmp_path / "out"
    assert predict(guesser, tmp_path / "raw", out, "submission=true", "cases=210") == 0
    monkeypatch.setattr("kitsseg.inference.record.segment_scan", None)
    with pytest.raises(TypeError):
        predict(guesser, tmp_path / "raw", out, "submission=true", "cases=210")
    assert not (out / "predictions.zip").exists()


def test_files_outside_the_output_are_not_removed(tmp_path: Path) -> None:
    """The names are read from a file, which may come from an untrusted source."""
    out = tmp_path / "out"
    record = PredictionRecord(out, {}, {}, keep=False)
    for name in ("kept", "out/removed"):
        (tmp_path / name).touch()
    record.add("ct", {"files": ["../kept", str(tmp_path / "kept"), "removed"]})
    record.add("ct", {"problem": "x"})
    assert (tmp_path / "kept").exists() and not (out / "removed").exists()


def test_files_dated_before_1980_can_be_archived(tmp_path: Path) -> None:
    """Zip archives cannot store dates before 1980, which files from some object stores have."""
    (tmp_path / "a").write_bytes(b"x")
    os.utime(tmp_path / "a", (0, 0))
    write_zip(tmp_path / "a.zip", [tmp_path / "a"])
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.read("a") == b"x"


def test_two_processes_share_an_output(guesser: Path, blocks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "kitsseg.predict", f"checkpoint={guesser}", f"input={blocks}",
               f"output={out}", "device=cpu"]  # fmt: skip
    parts = [subprocess.Popen([*command, f"cases={c}"], env=environment()) for c in ("0-1", "2-3")]
    assert [part.wait() for part in parts] == [0, 0]
    assert list(rows(out)) == [f"case_0000{n}" for n in range(4)]
    assert list(json.loads((out / "predict.json").read_text())["scans"]) == list(rows(out))


def test_another_process_with_other_settings_is_rejected(guesser: Path, tmp_path: Path) -> None:
    mine = PredictionRecord(tmp_path, {"crop": None}, {}, keep=False)
    PredictionRecord(tmp_path, {"crop": True}, {}, keep=False)
    with pytest.raises(ValueError, match=r"made with other settings \(crop\)"):
        mine.add("ct", {})


def test_killed_run_resumes(guesser: Path, tmp_path: Path) -> None:
    for number in range(12):
        write_case(tmp_path / "raw", number, *blocky(number, 12, 128, 128))
    arguments = [f"checkpoint={guesser}", "input=raw", "output=out", "device=cpu", "skip_existing=true"]
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
    done = forks.command(tmp_path, *arguments, name="kitsseg.predict")
    assert done.returncode == 0, done.stderr
    assert "12 volumes segmented" in done.stdout and len(rows(tmp_path / "out")) == 12
    kept = [n for n, t in there.items() if (tmp_path / "out" / n).stat().st_mtime_ns == t]
    assert len(kept) >= len(there) - 1


def test_run_resumes_after_a_full_disk(
    guesser: Path, blocks: Path, small_disk: Path, tmp_path: Path
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(180_000))
    arguments = [f"checkpoint={guesser}", f"input={blocks}", f"output={small_disk}/out", "device=cpu"]
    arguments += ["skip_existing=true", "cases=[0-3]", "quicklook=false"]
    done = forks.command(tmp_path, *arguments, name="kitsseg.predict")
    assert done.returncode == 1
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("kitsseg")]
    assert line.endswith("No space left on device; make room: skip_existing=true resumes")
    assert not list((small_disk / "out").rglob(".*"))  # no unfinished files
    filler.unlink()
    done = forks.command(tmp_path, *arguments, name="kitsseg.predict")
    assert done.returncode == 0, done.stderr
    assert len(list((small_disk / "out").glob("case_*.nii.gz"))) == 4
