"""The page as text: it escapes, is complete, needs nothing else, and claims no more than it may."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kitsseg.reporting import comparisons, runs, tables
from kitsseg.reporting.html import findings, result_sections, row_labels, svg
from kitsseg.reporting.html.cases import tumour_ml
from kitsseg.reporting.html.markup import el, join
from kitsseg.reporting.html.page import publish, render
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.table_rows import rows
from tests.reporting.html.made import EVIL, record, status, sweep, write_run


def page_of(folder: Path) -> str:
    jobs = runs.find([folder])
    return render(jobs, tables.study([job.record for job in jobs if job.record is not None]))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(sweep(tmp_path_factory.mktemp("sweep")))


class Elements(HTMLParser):
    """All elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._quiet = "", False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))
        self._quiet = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._quiet = False

    def handle_data(self, data: str) -> None:
        if not self._quiet:
            self.text += data


def test_text_is_escaped_and_markup_is_not() -> None:
    made = el("p", "a < b & ", el("b", '"c"'), None, class_="x", data_case='"><i>', hidden=True, id=None)
    assert (
        made
        == '<p class="x" data-case="&quot;&gt;&lt;i&gt;" hidden>a &lt; b &amp; <b>&quot;c&quot;</b></p>'
    )
    assert join(1, el("br")) == "1<br>"


def test_what_a_record_says_can_not_become_markup(page: str) -> None:
    assert "<script>window.evil" not in page
    elements = Elements(page)
    assert EVIL in elements.text  # shown as it was written, in the title and in the failure's reason
    assert sum(tag == "script" for tag, _ in elements.all) == 2
    data = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert data is not None and set(json.loads(data[1])) == {"images", "viewers"}


def test_the_page_needs_nothing_else(page: str) -> None:
    for tag, attributes in Elements(page).all:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            if value := attributes.get(name):
                assert value.startswith(("data:image/", "#")), (tag, value)
    style = (Path(svg.__file__).parent / "style.css").read_text()
    assert "url(" not in style and "@import" not in style
    policies = [a["content"] for _, a in Elements(page).all if "http-equiv" in a]
    assert len(policies) == 1 and str(policies[0]).startswith("default-src 'none'; img-src data:;")


def test_every_section_is_there_and_linked(page: str) -> None:
    elements = Elements(page)
    sections = [a["id"] for tag, a in elements.all if tag == "section"]
    links = [a["href"] for tag, a in elements.all if tag == "a"]
    assert sections == [
        "findings", "table", "sure", "cases", "strata", "tuning", "curves", "slices", "attention", "run",
    ]  # fmt: skip
    assert links == [f"#{name}" for name in sections]


def test_runs_without_figures_are_named_with_their_reason(page: str) -> None:
    text = Elements(page).text
    assert "4 runs (2 complete, 1 failed, 1 unfinished)" in text
    assert "2 of 4 runs left no figures" in text
    assert "2_model=bad" in text and "failed: no such loss" in text
    assert "10_model=slow" in text and "unfinished: it is running, or was killed" in text


def test_what_differs_and_where_it_ran(page: str) -> None:
    text = Elements(page).text
    assert "model._target_" in text and "paths.data" not in text.split("All of")[0]
    assert "0123456789ab" in text and "5 (4), 3 (1)" in text and "1:02:05" in text


def test_the_gates_of_each_case_are_shown_with_their_range(page: str) -> None:
    attention = page.split('id="attention"')[1].split("</section>")[0]
    assert attention.count("<b>Gate 1</b> (6 × 8): 0.00 – 1.00") == 3
    assert attention.count("<b>Gate 2</b>") == 3


def test_without_a_record_there_is_still_a_page(tmp_path: Path) -> None:
    status(tmp_path / "0_a", "failed", error="disk full")
    (path,) = publish(runs.find([tmp_path]), tmp_path)
    assert "failed</strong>: disk full" in path.read_text()
    assert "None of the runs has figures yet" in path.read_text()


def test_records_of_version_1_are_shown_without_what_they_lack(tmp_path: Path) -> None:
    old = record("unet", [0.5, 0.6], [0.6, 0.7], curves={}, version=1)
    for part in (old.before, old.after):
        for case in part["validation"].values():  # type: ignore[index]
            del case["voxel_ml"]
    old.write(tmp_path)
    text = Elements(page_of(tmp_path)).text
    assert "None of these records holds learning curves (records of version 1 don't)" in text
    assert "No record gives tumour volumes" in text


@pytest.mark.parametrize("curve", [[], [{"epoch": 0, "lr": 0.1, "train/loss": None}]])
def test_a_curve_may_hold_nothing(tmp_path: Path, curve: list[dict[str, object]]) -> None:
    record("unet", [0.5, 0.6], [0.6, 0.7], curves={"train": curve}).write(tmp_path)
    assert "Learning curves" in Elements(page_of(tmp_path)).text


def test_what_had_no_second_stage_is_not_in_the_table_before_it() -> None:
    other = dataclasses.replace(record("other", [0.3], [0.3]), after=None)
    study = tables.study([record("unet", [0.5, 0.6], [0.6, 0.7]), other])
    texts = tables.texts(study)
    before = texts["table1.md"].partition("Before fine-tuning")[2].partition("Dice of the")[0]
    assert "| unet" in before and "other" not in before
    assert texts["table1.csv"].count("before fine-tuning") == 1
    page = str(result_sections.table(study, texts)).partition("Before fine-tuning (stage one)")[2]
    page = page.partition("</table>")[0]
    assert "unet" in page and "other" not in page


def test_volumes_by_hand() -> None:
    table = rows([record("unet", [0.5, 0.5], [0.5, 0.5])])
    assert tumour_ml(table) == {"case_00010": 2.0, "case_00011": 4.0}  # 1000 and 2000 of 0.002 ml


def said(*records: Record) -> str:
    table = rows(records)
    return "\n".join(findings.sentences(table, comparisons.compare(table), []))


def test_a_small_difference_is_not_called_one() -> None:
    text = said(
        record("a", [0.5] * 4, [0.5, 0.4, 0.6, 0.0]), record("b", [0.5] * 4, [0.4, 0.5, 0.7, 0.0])
    )
    assert "The highest mean tumour Dice is that of b: 0.400" in text
    assert "these data don't tell it from a" in text
    assert "b less a: +0.025 in tumour Dice" in text and "don't tell the two apart" in text
    assert "scores higher" not in text
    assert "a hit no voxel of the tumour in 1 of 4 cases (case_00013)" in text


def test_a_clear_difference_is_limited_to_the_weights_of_its_seed() -> None:
    low, high = [0.1 + i / 100 for i in range(12)], [0.6 + i / 90 for i in range(12)]
    text = said(record("a", low, low), record("b", high, high))
    assert "b scores higher (p < 0.001); with one seed this speaks of these weights" in text
    assert "Fine-tuning changed the tumour Dice of a by +0.000" in text and "no clear change" in text


def test_rows_with_other_cases_are_not_ranked() -> None:
    text = said(record("a", [0.5] * 4, [0.5] * 4), record("b", [0.9] * 2, [0.9] * 2))
    assert "validated on different cases, so their means don't compare" in text
    assert "highest" not in text


def test_long_names_are_shortened_and_explained() -> None:
    options = [{"overrides": ["model=unet", f"data.background_keep={k}", "more=1"]} for k in (0.02, 0.1)]
    study = tables.study([record("unet", [0.5] * 3, [0.4, 0.5, 0.6], **o) for o in options])
    short, full = row_labels.shorten(study)
    assert full == {
        "A unet": "unet, data.background_keep=0.02",
        "B unet": "unet, data.background_keep=0.1",
    }
    assert {each.label for each in short.differences} == {"B unet − A unet"}
    assert [row_labels.letters(n) for n in (0, 25, 26, 27, 701, 702)] == [
        "A",
        "Z",
        "AA",
        "AB",
        "ZZ",
        "AAA",
    ]


def test_ticks_and_scales_by_hand() -> None:
    assert svg.ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert svg.ticks(0.8, 1) == pytest.approx([0.8, 0.85, 0.9, 0.95, 1])
    assert svg.ticks(3, 3) == [3]
    assert svg.log_ticks(0.8, 60) == pytest.approx([1, 2, 5, 10, 20, 50])
    assert svg.log_ticks(0.5, 1500) == pytest.approx([1, 10, 100, 1000])
    frame = svg.Frame((1, 100), (0, 1), log_x=True)
    assert frame.px(10) == pytest.approx((frame.px(1) + frame.px(100)) / 2)
    assert frame.py(0) - frame.py(1) == svg.HEIGHT - svg.TOP - svg.BOTTOM
    assert svg.spread([10, 12, 50], 14, 0, 100) == [10, 24, 50]
    assert svg.spread([95, 99], 14, 0, 100) == [86, 100]
    assert (svg.number(-0.5), svg.number(0.30000000000000004)) == ("\u22120.5", "0.3")


def test_tables_and_page_are_written_together(tmp_path: Path) -> None:
    write_run(tmp_path / "0_a", record("unet", [0.5, 0.6], [0.6, 0.7]))
    out = tmp_path / "out"
    out.mkdir()
    paths = publish(runs.find([tmp_path]), out)
    assert [p.name for p in paths][:3] == ["table1.md", "table1.csv", "table1.tex"]
    assert paths[-1].name == "report.html" and r"\toprule" in (out / "table1.tex").read_text()
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in paths)
