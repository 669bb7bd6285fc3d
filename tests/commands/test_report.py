"""The command `kitsseg.report`."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from kitsseg import report
from tests.helpers import forks
from tests.helpers.commands import find_problems
from tests.reporting.html.made import record, sweep, write_run


def run(runs: object, output: Path | None) -> None:
    report.run(OmegaConf.create({"runs": runs, "output": output and str(output), "margin": 0.02}))


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
        (["runs=[]"], "runs=[]: must be a folder or a list of folders"),
        (["runs=3"], "runs=3: must be a folder or a list of folders"),
        (["runs=.", "outputs=x"], "outputs: no such key; did you mean output?"),
        (["runs=.", "margin=0"], "margin=0.0: must be above 0; a difference in Dice, such as 0.02"),
    ],
)
def test_invalid_overrides_are_reported(overrides: list[str], problem: str) -> None:
    assert find_problems("report", overrides) == [problem]


def test_folder_without_runs_is_rejected_in_one_line(tmp_path: Path) -> None:
    done = forks.command(tmp_path, f"runs={tmp_path}", name="kitsseg.report")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"kitsseg.report: runs={tmp_path}: holds no run")
