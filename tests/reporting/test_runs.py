"""Whatever lies in a folder of runs is found and said to be what it is."""

import json
from pathlib import Path

import pytest

from kitsseg.reporting import run_record, runs
from tests.reporting.html.made import case, record, status, sweep, write_run


def test_every_job_is_found_in_order_with_its_state_and_reason(tmp_path: Path) -> None:
    sweep(tmp_path)
    status(tmp_path / "3_model=cut", "interrupted")
    (tmp_path / "4_model=odd").mkdir()
    (tmp_path / "4_model=odd" / "status.json").write_text("{")
    status(tmp_path / "5_model=lost", "complete")
    jobs = runs.find([tmp_path])
    assert [(job.folder.name.split("_")[0], job.state) for job in jobs] == [
        ("0", "complete"), ("1", "complete"), ("2", "failed"), ("3", "interrupted"),
        ("4", "unreadable"), ("5", "unreadable"), ("10", "unfinished"),
    ]  # fmt: skip
    assert [job.record is not None for job in jobs] == [True, True] + [False] * 5
    assert jobs[2].reason.startswith("no such loss")
    assert "status.json can't be read" in jobs[4].reason
    assert "says complete, but it has no result.json" in jobs[5].reason
    assert "is running, or was killed" in jobs[6].reason


def test_a_folder_given_twice_counts_once(tmp_path: Path) -> None:
    sweep(tmp_path)
    assert len(runs.find([tmp_path, tmp_path / "0_model=unet"])) == 4


def test_a_record_of_version_1_is_read_with_what_it_lacks_missing(tmp_path: Path) -> None:
    old = json.loads(json.dumps(run_record.asdict(record("unet", [0.5], [0.6]))))
    old["version"] = 1
    del old["curves"], old["clinical"]
    del old["after"]["validation"]["case_00010"]["voxel_ml"]
    (tmp_path / "result.json").write_text(json.dumps(old))
    (job,) = runs.find([tmp_path])
    assert job.record is not None
    assert (job.record.version, job.record.curves, job.record.clinical) == (1, {}, {})


def test_a_record_of_another_version_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"version": 99}')
    (job,) = runs.find([tmp_path])
    assert job.state == "unreadable" and job.record is None
    assert "is a record of version 99; this kitsseg reads 1 and 2" in job.reason


def test_an_evaluation_is_a_record_with_validation_figures_alone(tmp_path: Path) -> None:
    values = {"version": 1, "name": "outside", "cases": {"case_00200": case(0.9, None)}}
    (tmp_path / "evaluation.json").write_text(json.dumps(values))
    (job,) = runs.find([tmp_path])
    assert job.record is not None and job.record.model == "outside"
    assert job.record.final["validation"]["case_00200"]["dice"]["kidney"] == 0.9
    assert job.record.final["train"] == {}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"version": 7, "name": "x", "cases": {}}', "is an evaluation of version 7; .* reads 1"),
        ("[]", "is not an evaluation"),
        ('{"version": 1, "name": "x", "cases": {"a": {}}}', "is not an evaluation"),
    ],
)
def test_what_is_no_evaluation_is_refused(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=text):
        runs.read_evaluation(path)


def test_what_an_evaluation_lacks_is_said(tmp_path: Path) -> None:
    cases = {"case_00200": case(0.9, None)}
    values = {"version": 1, "name": "x", "cases": cases, "missing": ["a", "b"], "problems": {"c": "cut"}}
    (tmp_path / "evaluation.json").write_text(json.dumps(values))
    (job,) = runs.find([tmp_path])
    assert (job.state, job.reason) == ("complete", "2 without a prediction, 1 with a problem")


def test_a_run_that_fails_after_its_figures_has_both(tmp_path: Path) -> None:
    record("unet", [0.5], [0.6]).write(tmp_path)
    status(tmp_path, "failed", error="disk full")
    (job,) = runs.find([tmp_path])
    assert (job.state, job.reason, job.record is None) == ("failed", "disk full", False)


def test_nothing_to_find_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere: there's no such folder"):
        runs.find([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match=r"holds no run: no result.json, status.json or evaluation"):
        runs.find([tmp_path])
    assert runs.below(tmp_path) == []
    write_run(tmp_path / "0_a", record("unet", [0.5], [0.5]))
    assert len(runs.below(tmp_path)) == 1
