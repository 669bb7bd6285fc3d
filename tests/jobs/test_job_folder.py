"""The configuration, lock, status and phases in the folder of a job."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from kitsseg.jobs import job_folder, sweep
from kitsseg.system.files import file_version, fingerprint
from tests import ROOT
from tests.helpers.records import part, record

SETTINGS = {"seed": 0, "data": {"root": "a", "workers": 2}, "paths": {"output": "x"}, "logger": {}}


def test_differences_ignore_settings_that_do_not_change_results() -> None:
    other = {"seed": 1, "data": {"workers": 0, "size": 64}, "paths": {"output": "y"}, "logger": {"a": 1}}
    assert job_folder.differences(SETTINGS, other) == [
        "seed=0, not 1",
        "data.root=a, not unset",
        "data.size=unset, not 64",
    ]
    assert job_folder.differences(SETTINGS, json.loads(json.dumps(SETTINGS))) == []


def test_tuple_equals_the_list_in_the_file() -> None:
    assert job_folder.differences({"a": [1, 2]}, {"a": (1, 2)}) == []


def test_folder_with_results_of_another_configuration_is_not_overwritten(tmp_path: Path) -> None:
    job_folder.claim(tmp_path, SETTINGS)
    job_folder.Phases(tmp_path)("train", lambda: 1)
    job_folder.claim(tmp_path, {**SETTINGS, "seed": 1})  # there are no results yet
    assert not (tmp_path / job_folder.PHASES).exists()
    (tmp_path / "checkpoints").mkdir()
    text = "holds a job with seed=1, not 2: choose another name="
    with pytest.raises(ValueError, match=text):
        job_folder.claim(tmp_path, {**SETTINGS, "seed": 2})
    assert json.loads((tmp_path / job_folder.CONFIG).read_text())["seed"] == 1


def test_another_configuration_discards_what_was_chosen_for_the_last(tmp_path: Path) -> None:
    """A smaller patch, set after a job ran out of memory, must not be replaced by the planned one."""
    job_folder.claim(tmp_path, {"data": {"patch": "auto"}})
    (tmp_path / job_folder.PLAN).write_text("{}")
    job_folder.claim(tmp_path, {"data": {"patch": "auto"}})
    assert (tmp_path / job_folder.PLAN).is_file()
    job_folder.claim(tmp_path, {"data": {"patch": [64, 64, 64]}})
    assert not (tmp_path / job_folder.PLAN).exists()


def test_finished_phases_are_not_repeated(tmp_path: Path) -> None:
    calls: list[str] = []

    def work(name: str) -> dict[str, float]:
        calls.append(name)
        return {"x": 0.1 + 0.2}

    first = job_folder.Phases(tmp_path)
    assert first("a", lambda: work("a")) == {"x": 0.1 + 0.2}
    again = job_folder.Phases(tmp_path, write=False)
    assert again("a", lambda: work("a")) == {"x": 0.1 + 0.2}  # to the bit
    again("b", lambda: work("b"))
    again("open", lambda: calls.append("open"), always=True)
    third = job_folder.Phases(tmp_path)
    third("b", lambda: work("b"))
    third("open", lambda: calls.append("open"), always=True)
    assert calls == ["a", "b", "open", "b", "open"]
    assert set(third.seconds) == {"a", "b", "open"}


def test_folder_is_locked_by_one_process(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from kitsseg.jobs import job_folder\n"
        "with job_folder.lock_job(pathlib.Path(sys.argv[1]), 0): pass"
    )
    line = [sys.executable, "-c", code, str(tmp_path)]
    with job_folder.lock_job(tmp_path):
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "another process is running this job" in done.stderr
    with job_folder.lock_job(tmp_path, 0.2):
        pass


def test_unreadable_status_is_empty(tmp_path: Path) -> None:
    assert job_folder.read_status(tmp_path) == {}
    (tmp_path / "status.json").write_text("[1]")
    assert job_folder.read_status(tmp_path) == {} and not job_folder.is_complete(tmp_path)
    (tmp_path / "status.json").write_text('{"status": "complete"}')
    assert not job_folder.is_complete(tmp_path)  # there is no record


def test_job_run_by_another_command_is_judged_by_its_final_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock_job = job_folder.lock_job
    monkeypatch.setattr(job_folder, "lock_job", partial(lock_job, wait_s=0.1))
    ours, other = tmp_path / "seed-0", tmp_path / "seed-1"
    for folder in (ours, other):  # the second one belongs to a sweep over another seed
        folder.mkdir()
        (folder / "status.json").write_text('{"status": "running"}')
    with lock_job(ours):
        assert not sweep.guard(lambda: None, ours, SETTINGS, {})
        assert f"{ours}: another process is running this job" in capsys.readouterr().err
        with pytest.raises(SystemExit) as stop:
            sweep.finish_sweep(tmp_path)
        assert str(stop.value.code).startswith(f"kitsseg.train: unfinished: {ours} (still running")
        assert len(str(stop.value.code).splitlines()) == 1
        assert not sweep.guard(lambda: None, ours, SETTINGS, {})
        record().write(ours)
        (ours / "status.json").write_text('{"status": "complete"}')
    sweep.finish_sweep(tmp_path)  # the other command has completed it

    job_folder.claim(other, SETTINGS)
    (other / "checkpoints").mkdir()
    (other / "status.json").write_text('{"status": "complete"}')
    assert not sweep.guard(lambda: None, other, {**SETTINGS, "seed": 1}, {})
    with pytest.raises(SystemExit, match=f"not run: {other} holds a job with seed=0, not 1"):
        sweep.finish_sweep(tmp_path)

    # With hydra.sweep.subdir, the folder may hold another job of the sweep.
    record(model="attn_unet").write(other)
    assert not sweep.guard(lambda: None, other, {**SETTINGS, "seed": 1}, {})
    assert sweep.guard(lambda: None, other, SETTINGS, {})
    with pytest.raises(SystemExit, match=f"not run: {other} holds a job with seed=0, not 1"):
        sweep.finish_sweep(tmp_path)


def test_objective_is_the_mean_dice_of_the_target_where_it_is_defined(tmp_path: Path) -> None:
    assert sweep.objective(tmp_path) is None
    (tmp_path / "status.json").write_text('{"status": "complete"}')
    record().write(tmp_path)
    assert sweep.objective(tmp_path) == pytest.approx(0.3)
    record(before={"train": {}, "validation": part([0.8], [None])}).write(tmp_path)
    assert sweep.objective(tmp_path) is None


def test_job_is_found_under_the_folder_name_of_an_earlier_sweep(tmp_path: Path) -> None:
    (tmp_path / "default").mkdir()
    job_folder.claim(tmp_path / "default", SETTINGS)
    elsewhere = {**SETTINGS, "paths": {"output": "y"}}
    assert job_folder.find(tmp_path / "seed-0", elsewhere) == tmp_path / "default"
    # Settings that change only the speed still distinguish the jobs of a sweep.
    faster = {**SETTINGS, "data": {"root": "a", "workers": 4}}
    for settings in (faster, {**SETTINGS, "seed": 1}):
        assert job_folder.find(tmp_path / "seed-1", settings) == tmp_path / "seed-1"


def test_cases_that_changed_since_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = tmp_path / "image.nii.gz"
    image.write_text("a")
    folder = tmp_path / "job"
    (folder / "checkpoints").mkdir(parents=True)
    job_folder.claim(folder, SETTINGS)
    versions = {"case_00007": {str(image): [*file_version(image), fingerprint(image)]}}
    (folder / job_folder.CASES).write_text(json.dumps(versions))
    job_folder.claim(folder, SETTINGS)  # resumes
    os.utime(image, ns=(1, 1))
    job_folder.claim(folder, SETTINGS)  # a copy of the same file
    image.write_text("b")
    with pytest.raises(ValueError, match="case_00007: changed since this run was started: "):
        job_folder.claim(folder, SETTINGS)
    image.write_text("another annotation")
    with pytest.raises(ValueError, match="case_00007: changed since this run was started: "):
        job_folder.claim(folder, SETTINGS)
    record().write(folder)
    (folder / "status.json").write_text('{"status": "complete"}')
    with caplog.at_level("INFO", "kitsseg"):
        assert sweep.guard(lambda: None, folder, SETTINGS, {})
    assert "case_00007: changed since this run was started; choose another name= to train" in caplog.text
    image.unlink()  # a finished run does not need its data
    assert job_folder.changed_inputs(folder) == ""


def test_own_code_that_changed_since_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "minepkg").mkdir()
    helper = tmp_path / "minepkg" / "helper.py"
    helper.write_text("width = 1")
    (tmp_path / "minepkg" / "net.py").write_text("from minepkg.helper import width")
    monkeypatch.syspath_prepend(str(tmp_path))
    inner = {"_target_": "torch.nn.Identity", "parts": [{"_target_": "minepkg.net.Net"}]}
    settings = {**SETTINGS, "model": {"_target_": "kitsseg.models.unet.UNet", "inner": inner}}
    assert list(job_folder.own_files(settings)) == ["minepkg"]
    folder = tmp_path / "job"
    folder.mkdir()
    job_folder.claim(folder, settings)
    (folder / "checkpoints").mkdir()
    job_folder.claim(folder, settings)  # resumes
    helper.write_text("width = 2")
    with pytest.raises(ValueError, match="minepkg: changed since this run was started: choose another"):
        job_folder.claim(folder, settings)
    record().write(folder)
    (folder / "status.json").write_text('{"status": "complete"}')
    with caplog.at_level("INFO", "kitsseg"):
        assert sweep.guard(lambda: None, folder, settings, {})
    assert "minepkg: changed since this run was started; choose another name= to train" in caplog.text


@pytest.mark.parametrize("key", ["init_from", "split"])
def test_named_file_that_changed_since_the_run(key: str, tmp_path: Path) -> None:
    path = tmp_path / "file.ckpt"
    path.write_text("a")
    settings = {**SETTINGS, key: str(path) if key == "init_from" else {"path": str(path)}}
    folder = tmp_path / "job"
    folder.mkdir()
    job_folder.claim(folder, {**settings, "shallow": "a.b" * 200})
    assert job_folder.changed_inputs(folder) == ""
    path.write_text("b")
    name = key if key == "init_from" else "split.path"
    assert job_folder.changed_inputs(folder) == f"{name}: changed since this run was started"


def test_a_trial_starts_from_scratch(tmp_path: Path) -> None:
    settings = {**SETTINGS, "trainer": {"fast_dev_run": True}}
    job_folder.claim(tmp_path, settings)
    job_folder.Phases(tmp_path)("train", lambda: 1)
    (tmp_path / "checkpoints").mkdir()
    record().write(tmp_path)
    (tmp_path / "status.json").write_text('{"status": "complete"}')
    ran = []
    assert sweep.guard(lambda: ran.append(1), tmp_path, settings, {})
    assert ran == [1] and not (tmp_path / job_folder.PHASES).exists()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("content", ['{"seed":', "[1]", "", "\xff"])
@pytest.mark.parametrize("name", [job_folder.CONFIG, job_folder.CASES, job_folder.PHASES])
def test_a_damaged_file_beside_a_job_is_one_line(
    tmp_path: Path, content: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "job"
    (folder / "checkpoints").mkdir(parents=True)
    job_folder.claim(folder, SETTINGS)
    (folder / name).write_bytes(content.encode("latin-1"))

    def work() -> None:
        job_folder.Phases(folder)

    assert not sweep.guard(work, folder, SETTINGS, {})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"kitsseg.train: {folder / name}: is damaged (")
    assert line.endswith(f"; choose another name=, or remove {folder} to start from scratch")
    # Another job beside it is not affected, and the remedy works.
    (tmp_path / "other").mkdir()
    assert job_folder.find(tmp_path / "other", SETTINGS) == tmp_path / (
        "other" if name == job_folder.CONFIG else "job"
    )
    shutil.rmtree(folder)
    folder.mkdir()
    assert sweep.guard(work, folder, SETTINGS, {})
