"""The command `kitsseg.report`."""

from pathlib import Path

import pytest

from kitsseg import report
from kitsseg.reporting.runs import Job
from tests.helpers import forks
from tests.helpers.commands import find_problems
from tests.helpers.reports import report_config, traced
from tests.reporting.html.made import record, sweep, write_run


def run(runs: object, output: Path | None = None, **values: object) -> int:
    return report.run(report_config(runs, output=output and str(output), **values))


def test_report_of_one_folder_is_written_into_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(str(sweep(tmp_path)), None)
    out = capsys.readouterr().out
    assert out.startswith("2 of 4 runs have results\nfailed: ")
    assert "unfinished: " in out and out.endswith("report.html\n")
    assert (tmp_path / "report.html").is_file() and (tmp_path / "table1.tex").is_file()


def test_report_of_several_folders_is_written_to_the_output_folder(tmp_path: Path) -> None:
    sweep(tmp_path / "sweep")
    write_run(tmp_path / "alone", record("monai_basic_unet", [0.5] * 4, [0.6] * 4))
    run([str(tmp_path / "sweep"), str(tmp_path / "alone")], tmp_path / "a" / "b")
    table = (tmp_path / "a" / "b" / "table1.md").read_text()
    assert all(f"| {model} " in table for model in ("unet", "attn_unet", "monai_basic_unet"))


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ([], "runs: has no value; set it with runs=VALUE"),
        (["runs=no/where"], "runs=no/where: no such folder"),
        (["runs=[]"], "runs=[]: must be a folder, a list of folders, or folders by site"),
        (["runs=3"], "runs=3: must be a folder, a list of folders, or folders by site"),
        (["runs=.", "outputs=x"], "outputs: no such key; did you mean output?"),
        (
            ["runs=.", "recompute=true"],
            "recompute=true: has no effect without cell=; cell=all recomputes every number",
        ),
        (["runs=.", "margin=0"], "margin=0.0: must be above 0; a difference in Dice, such as 0.02"),
    ],
)
def test_invalid_overrides_are_reported(overrides: list[str], problem: str) -> None:
    assert find_problems("report", overrides) == [problem]


def test_a_number_is_printed_with_its_cases_and_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(str(sweep(tmp_path)))
    shown = traced((tmp_path / "report.html").read_text(encoding="utf-8"))
    capsys.readouterr()
    assert run(str(tmp_path), cell="all") == 0
    assert capsys.readouterr().out.splitlines() == [f"{name}: {text}" for text, name in shown]
    assert run(str(tmp_path), cell="mean/unet/validation/tumour") == 0
    first, source, *cases = capsys.readouterr().out.splitlines()
    assert first.startswith("mean/unet/validation/tumour: 0.500 [")
    assert (
        source
        == f"run {tmp_path}/0_model=unet, seed 0, commit 0123456789ab, checkpoints/train {64 * 'c'}"
    )
    assert cases[0] == f"case case_00010, image {64 * 'a'}, label {64 * 'b'}" and len(cases) == 4


def test_each_run_segments_only_its_own_cases_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for site, dice in (("a", [0.5, 0.6, 0.7]), ("b", [0.5, 0.6, 0.7, 0.8])):
        write_run(tmp_path / site, record("unet", dice, dice))
    needed: dict[str, set[str]] = {}

    def rescored(job: Job, cases: set[str], *_: object) -> Job:
        needed[job.folder.name] = cases
        return job

    monkeypatch.setattr(report, "rescored", rescored)
    runs = {site: str(tmp_path / site) for site in "ab"}
    assert run(runs, cell="all", recompute=True) == 0
    expected = {"a": [1, 10, 11, 12], "b": [1, 10, 11, 12, 13]}
    assert needed == {site: {f"{site}/case_{i:05d}" for i in ids} for site, ids in expected.items()}


def test_an_unknown_number_is_refused(tmp_path: Path) -> None:
    problem = "has no such number; did you mean mean/unet/validation/tumour[?]; cell=all lists them"
    with pytest.raises(ValueError, match=problem):
        run(str(sweep(tmp_path)), cell="mean/unet/validation/tumor")
    with pytest.raises(ValueError, match="has no data source, so its cases"):
        run(str(tmp_path), cell="mean/unet/validation/tumour", recompute=True)


def test_folder_without_runs_is_rejected_in_one_line(tmp_path: Path) -> None:
    done = forks.command(tmp_path, f"runs={tmp_path}", name="kitsseg.report")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"kitsseg.report: runs={tmp_path}: holds no run")
