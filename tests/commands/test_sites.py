"""`kitsseg.report` of several sites: share, combine, and trace the combined numbers."""

import csv
import json
import shlex
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from kitsseg import report
from kitsseg.reporting.sites.meta_analysis import combine_cases
from tests.helpers.commands import find_problems
from tests.helpers.reports import report_config, traced
from tests.reporting.html.made import record, write_run

DICE = {"a": [0.5, 0.6, 0.9], "b": [0.2, 0.7, 0.8, 0.9], "c": [0.4, 0.45]}
GAIN = {"a": 0.05, "b": 0.02, "c": 0.1}


def write_site(folder: Path, site: str) -> Path:
    """Write the runs of two models at a site; all sites use the same case ids and other folders."""
    for model, gain in (("unet", 0.0), ("attn_unet", GAIN[site])):
        dice = [value + gain * (i + 1) / 2 for i, value in enumerate(DICE[site])]
        options = [f"model={model}", f"data.root=/data/{site}"]
        write_run(folder / site / model, record(model, dice, dice, overrides=options))
    return folder / site


def combined(folder: Path) -> dict[tuple[str, str], list[str]]:
    lines = list(csv.reader((folder / "sites.csv").open(encoding="utf-8")))
    return {(line[0], line[2]): line for line in lines if line[1] == "tumour"}


def test_sites_exchange_files_and_combine_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for site in DICE:
        files.append(str(tmp_path / f"{site}.json"))
        options = {"share": files[-1], "site": site, "hash_ids": str(tmp_path / f"{site}.txt")}
        assert report.run(report_config(write_site(tmp_path, site), **options)) == 0
        assert not (tmp_path / site / "report.html").exists()
    assert "2 runs (attn_unet, unet), 3 cases of c" in capsys.readouterr().out
    assert report.run(report_config(files, output=str(tmp_path / "all"))) == 0
    found = combined(tmp_path / "all")
    expected = combine_cases(list(DICE.values()))
    line = found["unet", "all sites"]
    assert [float(v) for v in line[4:7]] == [expected.mean.mean, expected.mean.low, expected.mean.high]
    assert expected.new_site.low < 0 and line[7:9] == ["0.0", "1.0"], "a Dice is between 0 and 1"
    assert line[3] == "9" and float(line[9]) == expected.tau
    assert float(found["unet", "b"][4]) == pytest.approx(np.mean(DICE["b"]))
    gains = [[GAIN[s] * (i + 1) / 2 for i in range(len(d))] for s, d in DICE.items()]
    (name,) = {model for model, _ in found if " − " in model}
    sign = 1 if name == "attn_unet − unet" else -1
    assert float(found[name, "all sites"][4]) == pytest.approx(sign * combine_cases(gains).mean.mean)
    page = (tmp_path / "all" / "report.html").read_text(encoding="utf-8")
    assert 'id="sites"' in page and "tumour Dice by site" in page and "case_000" not in page
    assert "| unet " in (tmp_path / "all" / "sites.md").read_text(encoding="utf-8")


def test_folders_by_site_and_the_command_of_a_combined_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {f"hospital {site}": str(write_site(tmp_path, site)) for site in "ab"}
    assert report.run(report_config(places, output=str(tmp_path / "all"))) == 0
    page = (tmp_path / "all" / "report.html").read_text(encoding="utf-8")
    shown = {name: text for text, name in traced(page)}
    assert shown["sites/unet/tumour"] == "2" and shown["new_site/unet/tumour"] == "–"
    assert shown["case/unet (hospital a)/tumour/hospital a/case_00010"] == "0.500"
    commands = unescape(page).split("python -m kitsseg.report ")[1:]
    (line,) = [c for c in commands if "cell=mean_of_sites/unet/tumour" in c.splitlines()[0]]
    where, cell = shlex.split(line.splitlines()[0].split("</pre>")[0])
    assert find_problems("report", [where, cell]) == []
    capsys.readouterr()
    assert report.run(report_config(places, cell="mean_of_sites/unet/tumour")) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"mean_of_sites/unet/tumour: {shown['mean_of_sites/unet/tumour']}"
    assert sum(text.startswith("case hospital b/") for text in out) == 4


def test_one_site_has_no_table_of_sites(tmp_path: Path) -> None:
    folder = write_site(tmp_path, "a")
    assert report.run(report_config(folder)) == 0
    assert not (folder / "sites.csv").exists()
    assert 'id="sites"' not in (folder / "report.html").read_text(encoding="utf-8")


def test_a_folder_without_a_site_among_others_is_refused_and_the_remedy_works(tmp_path: Path) -> None:
    folder, path = write_site(tmp_path, "a"), tmp_path / "b.json"
    report.run(report_config(write_site(tmp_path, "b"), share=str(path), site="b"))
    with pytest.raises(ValueError, match="has no site, but others have; name it: runs={A:"):
        report.run(report_config([str(folder), str(path)]))
    named = report_config({"A": str(folder), "B": str(path)}, output=str(tmp_path / "all"))
    assert report.run(named) == 0 and ("unet", "A") in combined(tmp_path / "all")


def test_sharing_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"status": "running"}))
    with pytest.raises(ValueError, match="holds no finished run to share"):
        report.run(report_config(tmp_path, share=str(tmp_path / "x.json"), site="a"))
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["share=a.json"], "share=a.json: needs a name for this site, such as site=hospital_a"),
        (["site=a"], "site=a: has no effect without share="),
        (["hash_ids=s.txt"], "hash_ids=s.txt: has no effect without share="),
        (
            ["share=a.json", "site=a/b"],
            "site=a/b: must consist of letters, digits, spaces, dots, _ and -",
        ),
    ],
)
def test_invalid_overrides_are_reported(overrides: list[str], problem: str) -> None:
    assert find_problems("report", ["runs=.", *overrides]) == [problem]
