"""Finding jobs in result folders and reading their states."""

import json
import re
from pathlib import Path

import pytest

from kitsseg.reporting import run_record, runs, tables
from tests.reporting.html.made import case, record, status, sweep, write_run


def test_jobs_are_found_in_order_with_state_and_reason(tmp_path: Path) -> None:
    sweep(tmp_path)
    status(tmp_path / "3_model=cut", "interrupted")
    (tmp_path / "4_model=odd").mkdir()
    (tmp_path / "4_model=odd" / "status.json").write_text("{")
    status(tmp_path / "5_model=lost", "complete")
    jobs = runs.find_jobs([tmp_path])
    assert [(job.folder.name.split("_")[0], job.state) for job in jobs] == [
        ("0", "complete"), ("1", "complete"), ("2", "failed"), ("3", "interrupted"),
        ("4", "unreadable"), ("5", "unreadable"), ("10", "unfinished"),
    ]  # fmt: skip
    assert [job.record is not None for job in jobs] == [True, True] + [False] * 5
    assert jobs[2].reason.startswith("no such loss")
    assert "status.json is unreadable" in jobs[4].reason
    assert "says complete, but there is no result.json" in jobs[5].reason
    assert "still running or killed" in jobs[6].reason


def test_duplicate_folders_count_once(tmp_path: Path) -> None:
    sweep(tmp_path)
    assert len(runs.find_jobs([tmp_path, tmp_path / "0_model=unet"])) == 4


def test_links_to_run_folders_are_followed(tmp_path: Path) -> None:
    sweep(tmp_path / "scratch")
    chosen = tmp_path / "paper"
    chosen.mkdir()
    (chosen / "unet").symlink_to(tmp_path / "scratch" / "0_model=unet")
    (chosen / "loop").symlink_to(chosen)
    assert [job.folder.name for job in runs.find_jobs([chosen])] == ["unet"]


def test_record_of_version_1_is_read(tmp_path: Path) -> None:
    old = json.loads(json.dumps(run_record.asdict(record("unet", [0.5], [0.6]))))
    old["version"] = 1
    del old["curves"], old["clinical"]
    del old["after"]["validation"]["case_00010"]["voxel_ml"]
    (tmp_path / "result.json").write_text(json.dumps(old))
    (job,) = runs.find_jobs([tmp_path])
    assert job.record is not None
    assert (job.record.version, job.record.curves, job.record.clinical) == (1, {}, {})


def test_unsupported_record_version(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"version": 99}')
    (job,) = runs.find_jobs([tmp_path])
    assert job.state == "unreadable" and job.record is None
    assert "record version 99 is not supported (supported: 1, 2)" in job.reason


def test_evaluation_is_a_record_with_validation_metrics_only(tmp_path: Path) -> None:
    values = {"version": 2, "name": "outside", "cases": {"case_00200": case(0.9, None)}}
    (tmp_path / "evaluation.json").write_text(json.dumps(values))
    (job,) = runs.find_jobs([tmp_path])
    assert job.record is not None and job.record.model == "outside"
    note = tables.note(tables.study([job.record]))
    assert not re.search("seed 0|fine-tuning|optimistic", note) and "(1). Dice is" in note
    assert job.record.final["validation"]["case_00200"]["dice"]["kidney"] == 0.9
    assert job.record.final["train"] == {}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            '{"version": 7, "name": "x", "cases": {}}',
            "evaluation version 7 is not supported .supported: 1 and 2",
        ),
        ("[]", "not an evaluation"),
        ('{"version": 1, "name": "x", "cases": {"a": {}}}', "not an evaluation"),
        (
            '{"version": 2, "name": "x", "cases": {"a": {"dice": {"kidney": 0.9, "tumour": 1.5}}}}',
            "before.validation.a.dice.tumour: Input should be less than or equal to 1; evaluate again",
        ),
        (
            '{"version": 2, "name": "x", "cases": {"a": {"dice": {"kidney": 0.9}}}}',
            "evaluation.json: a: no Dice of tumour; evaluate again",
        ),
        (
            '{"version": 2, "name": "x", "cases": {}, "hashes": {"a": 5}}',
            "evaluation.json: hashes.a: Input should be a valid dictionary; evaluate again",
        ),
    ],
)
def test_invalid_evaluations_raise(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=text):
        runs.read_evaluation(path)


def test_incomplete_evaluation_states_what_is_missing(tmp_path: Path) -> None:
    cases = {"case_00200": case(0.9, None)}
    problems = {"b": "no prediction", "c": "cut"}
    values = {"version": 1, "name": "x", "cases": cases, "missing": ["a", "b"], "problems": problems}
    (tmp_path / "evaluation.json").write_text(json.dumps(values))
    (job,) = runs.find_jobs([tmp_path])
    assert (job.state, job.reason) == ("complete", "2 without a prediction, 1 with a problem")


def test_a_region_that_is_absent_from_both_volumes_has_no_dice(tmp_path: Path) -> None:
    """With ``absent_dice=1``, evaluations store 1, which Table 1 leaves out of its means."""
    absent = {**case(0.9, 1.0), "voxels": {"kidney": [5, 5, 9], "tumour": [0, 0, 0]}}
    values = {"version": 2, "name": "x", "cases": {"case_00200": absent}}
    (tmp_path / "evaluation.json").write_text(json.dumps(values))
    record, _ = runs.read_evaluation(tmp_path / "evaluation.json")
    dice = record.final["validation"]["case_00200"]["dice"]
    assert dice == {"kidney": 0.9, "tumour": None, "kidney_label": 0.9}


def test_run_that_failed_after_evaluation_has_a_record(tmp_path: Path) -> None:
    record("unet", [0.5], [0.6]).write(tmp_path)
    status(tmp_path, "failed", error="disk full")
    (job,) = runs.find_jobs([tmp_path])
    assert (job.state, job.reason, job.record is None) == ("failed", "disk full", False)


def test_folders_without_jobs_raise(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run; expected result.json"):
        runs.find_jobs([tmp_path])
    assert runs.jobs_below(tmp_path) == []
    write_run(tmp_path / "0_a", record("unet", [0.5], [0.5]))
    assert len(runs.jobs_below(tmp_path)) == 1
