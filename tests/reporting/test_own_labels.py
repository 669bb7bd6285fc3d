"""Tables and page of runs with other classes and regions than KiTS19's."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kitsseg.data.labels import KITS19, Labels
from kitsseg.reporting import regions, runs, strata, tables
from kitsseg.reporting.html import findings, outlines
from kitsseg.reporting.html.page import publish
from kitsseg.reporting.table_rows import group_runs
from tests.helpers.own_labels import KITS23, ORGAN, PARTS, run_of, write_run

LOW, HIGH = [0.2, 0.3, 0.4], [0.5, 0.7, 0.9]


def published(folder: Path, labels: Labels) -> dict[str, str]:
    """Return the tables and the page of two runs by file name."""
    for model, dice in (("low", LOW), ("high", HIGH)):
        write_run(folder / model, run_of(labels, model, dice, gain=0.05))
    paths = publish(runs.find_jobs([folder]), folder)
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def test_columns_of_kits19_are_those_of_the_paper() -> None:
    assert tables.head(KITS19) == ["Model", "Train Kidney", "Train Tumor", "Val Kidney", "Val Tumor"]
    metrics = [column.metric for column in regions.columns(KITS19)]
    assert metrics == ["train_kidney", "train_tumor", "val_kidney", "val_tumor"]
    other = Labels(**{**KITS19.as_dict(), "table": ["tumour"]})
    assert tables.head(other) == ["Model", "Train tumour", "Val tumour"] and not tables.paper(other)


def test_four_classes_and_three_regions(tmp_path: Path) -> None:
    files = published(tmp_path, KITS23)
    table = files["table1.md"]
    assert tables.head(KITS23)[1:] == [
        "Train kidney and masses", "Train masses", "Train tumour",
        "Val kidney and masses", "Val masses", "Val tumour",
    ]  # fmt: skip
    assert "paper" not in "".join(files[name] for name in files if name != "report.html")
    about = "regions (kidney and masses: kidney, tumour or cyst; masses: tumour or cyst; tumour)"
    assert f"Dice of the {about}, computed" in table and "after fine-tuning on tumour slices" in table
    high = next(csv.DictReader(files["table1.csv"].splitlines()))
    # 0.5, 0.7 and 0.9, plus 0.05 for fine-tuning, minus 0.01 and 0.02 for the regions.
    assert float(high["Val masses mean"]) == pytest.approx(0.74)
    assert float(high["Val tumour mean"]) == pytest.approx(0.73)
    assert files["table1.tex"].count(r"\midrule") == 1
    differences = csv.DictReader(files["differences.csv"].splitlines())
    assert [line["region"] for line in differences] == list(KITS23.regions)
    assert "| low − high | kidney and masses | undecided | 3 " in table
    assert "| Tumour volume " in table and "Val kidney and masses [95 %]" in table


def test_the_page_of_four_classes(tmp_path: Path) -> None:
    page = published(tmp_path, KITS23)["report.html"]
    assert "Highest mean tumour Dice: high, 0.730" in page
    # The target first, then the other regions in order.
    names = re.findall(r'aria-label="Mean (.*?) Dice of each row', page)
    assert names == ["tumour", "kidney and masses", "masses"]
    data = json.loads(re.findall(r'id="slices-data">(.*?)</script>', page)[0])
    drawn = data["viewers"]["view-0-best"]["outlines"]
    assert set(drawn[0].values()) == {""} and all(drawn[1].values())
    assert list(drawn[0])[-3:] == ["truth.class-1", "truth.class-2", "truth.class-3"]
    assert "#outlines .class-3, .outline.class-3 { --o: #009e73; }" in page
    boxes = re.findall(r'type="checkbox" value="(.*?)"', page)
    assert boxes == ["truth", "prediction", "before", "class-1", "class-2", "class-3"]


def test_chosen_colours_are_those_of_classes() -> None:
    chosen = Labels(**{**ORGAN.as_dict(), "colours": {"organ": "#112233"}})
    assert ".outline.class-1 { --o: #112233; }" in outlines.style(chosen)
    assert "--o" not in outlines.style(ORGAN) + outlines.style(KITS19)


def test_two_classes(tmp_path: Path) -> None:
    files = published(tmp_path, ORGAN)
    assert tables.head(ORGAN) == ["Model", "Train organ", "Val organ"]
    assert "Dice of the regions (organ), computed" in files["table1.md"]
    page = files["report.html"]
    assert "Organ size" in page and "umour" not in page and "thin lines" not in page
    assert re.findall(r'type="checkbox" value="(.*?)"', page) == ["truth", "prediction", "before"]


def test_64_classes(tmp_path: Path) -> None:
    files = published(tmp_path, PARTS)
    assert len(tables.head(PARTS)) == 127 and "| Val part 63 " in files["table1.md"]
    page = files["report.html"]
    assert "Highest mean part 7 Dice" in page and 'value="class-63"' in page


def test_a_target_outside_table_1() -> None:
    labels = Labels(**{**KITS23.as_dict(), "table": ["masses"]})
    done = tables.study([run_of(labels, "low", LOW, 0.1), run_of(labels, "high", HIGH, 0.1)])
    assert [c.region for c in done.comparisons] == ["masses"]
    text = findings.sentences(done.rows, done.comparisons, [])[0][1]
    assert text.startswith("Highest mean tumour Dice: high")


def test_sizes_are_those_of_the_target_region() -> None:
    labels = Labels(**{**KITS23.as_dict(), "target": "masses"})
    run = run_of(labels, "low", LOW)
    run.final["validation"]["case_00010"]["voxels"]["masses"] = [0, 3, 0]
    (size,) = strata.divide_cases(group_runs([run]))
    assert size.name == "Masses volume"
    assert list(size.members) == ["no masses", "> 34, ≤ 180 ml"]  # 40 and 160 ml


def test_different_labels_in_one_report_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "a", run_of(KITS23, "low", LOW))
    write_run(tmp_path / "b", run_of(ORGAN, "high", HIGH))
    message = (
        r"^labels differ between own, low \(classes background, kidney, tumour, cyst; regions kidney "
        r"and masses: kidney, tumour or cyst; masses: tumour or cyst; tumour\) and own, high \(classes "
        r"background, organ; regions organ\); report them separately$"
    )
    with pytest.raises(ValueError, match=message):
        publish(runs.find_jobs([tmp_path]), tmp_path)


@pytest.mark.parametrize(
    ("changes", "differ"),
    [
        ({"colours": {"cyst": "#112233"}}, False),
        ({"target": "masses"}, False),
        ({"regions": {**KITS23.regions, "masses": ["cyst", "tumour"]}}, False),
        ({"regions": {**KITS23.regions, "masses": ["cyst"]}}, True),
        ({"classes": ["background", "kidney", "cyst", "tumour"]}, True),
    ],
)
def test_only_classes_and_regions_must_be_equal(changes: dict[str, Any], differ: bool) -> None:
    other = run_of(Labels(**{**KITS23.as_dict(), **changes}), "high", HIGH, 0.1)
    records = [run_of(KITS23, "low", LOW, 0.1), replace(other, name="changed")]
    if differ:
        with pytest.raises(ValueError, match="labels differ between own, low .* and changed, high"):
            tables.study(records)
    else:
        assert len(tables.study(records).rows) == 2


def test_an_evaluation_states_its_labels(tmp_path: Path) -> None:
    cases = run_of(KITS23, "x", LOW).final["validation"]
    values = {"version": 1, "name": "x", "cases": cases, "settings": {"labels": KITS23.as_dict()}}
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(values))
    assert runs.read_evaluation(path)[0].label_set == KITS23
    values["settings"] = {"labels": {"classes": ["a"]}}
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="not an evaluation"):
        runs.read_evaluation(path)
    kits19 = run_of(KITS19, "x", LOW).final["validation"]
    values |= {"settings": {}, "cases": kits19}
    path.write_text(json.dumps(values))
    assert runs.read_evaluation(path)[0].labels == KITS19.as_dict()
