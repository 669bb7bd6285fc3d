"""The report page as text: escaping, completeness, self-containedness and findings."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kitsseg.reporting import comparisons, runs, tables
from kitsseg.reporting.html import findings, forest, sections, svg
from kitsseg.reporting.html.markup import el, join
from kitsseg.reporting.html.page import publish, shorten_labels
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.sites import combine, exchange
from kitsseg.reporting.table_rows import Row, group_runs
from tests.reporting.html.made import EVIL, record, status, sweep, write_run


def page_of(folder: Path) -> str:
    return publish(runs.find_jobs([folder]), folder)[-1].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(sweep(tmp_path_factory.mktemp("sweep")))


class Elements(HTMLParser):
    """The elements with their attributes, and the text outside scripts and styles."""

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


def test_texts_of_records_are_escaped(page: str) -> None:
    assert "<script>window.evil" not in page
    elements = Elements(page)
    assert EVIL in elements.text  # unchanged in the title and in the reason of the failure
    assert sum(tag == "script" for tag, _ in elements.all) == 2
    data = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert data is not None and set(json.loads(data[1])) == {"images", "viewers"}


def test_page_is_self_contained(page: str) -> None:
    for tag, attributes in Elements(page).all:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            if value := attributes.get(name):
                assert value.startswith(("data:image/", "#")), (tag, value)
    style = (Path(svg.__file__).parent / "style.css").read_text()
    assert "url(" not in style and "@import" not in style
    policies = [a["content"] for _, a in Elements(page).all if "http-equiv" in a]
    assert len(policies) == 1 and str(policies[0]).startswith("default-src 'none'; img-src data:;")


def test_sections_are_complete_and_linked(page: str) -> None:
    elements = Elements(page)
    names = [a["id"] for tag, a in elements.all if tag == "section"]
    links = [a["href"] for tag, a in elements.all if tag == "a"]
    assert names == [
        "findings", "table", "sure", "cases", "strata", "tuning", "curves", "slices", "attention",
        "sources", "run",
    ]  # fmt: skip
    assert links[: len(names)] == [f"#{name}" for name in names]
    assert {str(link)[1:] for link in links} <= {a.get("id") for _, a in elements.all}


def test_runs_without_results_are_listed_with_their_reason(page: str) -> None:
    text = Elements(page).text
    assert "4 runs (2 complete, 1 failed, 1 unfinished)" in text
    assert "2 of 4 runs produced no results" in text
    assert "2_model=bad" in text and "failed: no such loss" in text
    assert "10_model=slow" in text and "unfinished: still running or killed" in text


def test_configurations_and_environment_are_shown(page: str) -> None:
    text = Elements(page).text
    assert "model._target_" in text and "paths.data" not in text.split("Configuration of")[0]
    assert "0123456789ab" in text and "5 (4), 3 (1)" in text and "1:02:05" in text


def test_moved_classes_are_not_a_difference() -> None:
    targets = [
        f"kitsseg.data.{module}.SliceDataModule" for module in ("datamodule", "slices.datamodule")
    ]
    runs = [
        record(name, [0.5], [0.6], config={"data": {"_target_": target, "width": width}})
        for name, target, width in zip("ab", targets, (8, 9), strict=True)
    ]
    table = Elements("".join(sections.configurations(group_runs(runs)))).text.split("Configuration of")[
        0
    ]
    assert "data.width" in table and "_target_" not in table


def test_attention_maps_state_their_range(page: str) -> None:
    attention = page.split('id="attention"')[1].split("</section>")[0]
    assert attention.count("<b>Gate 1</b> (6 × 8): 0.00 – 1.00") == 3
    assert attention.count("<b>Gate 2</b>") == 3


def test_page_without_any_record(tmp_path: Path) -> None:
    status(tmp_path / "0_a", "failed", error="disk full")
    (path,) = publish(runs.find_jobs([tmp_path]), tmp_path)
    assert "failed</strong>: disk full" in path.read_text()
    assert "No run has produced results yet" in path.read_text()


def test_records_of_version_1_lack_curves_and_volumes(tmp_path: Path) -> None:
    old = record("unet", [0.5, 0.6], [0.6, 0.7], curves={}, version=1)
    for part in (old.before, old.after):
        for case in part["validation"].values():  # type: ignore[index]
            del case["voxel_ml"]
    old.write(tmp_path)
    text = Elements(page_of(tmp_path)).text
    assert "No learning curves were recorded." in text
    assert "No tumour volumes" in text


@pytest.mark.parametrize("curve", [[], [{"epoch": 0, "lr": 0.1, "train/loss": None}]])
def test_empty_learning_curves(tmp_path: Path, curve: list[dict[str, object]]) -> None:
    record("unet", [0.5, 0.6], [0.6, 0.7], curves={"train": curve}).write(tmp_path)
    assert "Learning curves" in Elements(page_of(tmp_path)).text


def test_table_before_fine_tuning_omits_runs_without_it() -> None:
    other = dataclasses.replace(record("other", [0.3], [0.3]), after=None)
    study = tables.study([record("unet", [0.5, 0.6], [0.6, 0.7]), other])
    texts = tables.texts(study)
    before = texts["table1.md"].partition("Before fine-tuning")[2].partition("Dice of the")[0]
    assert "| unet" in before and "other" not in before
    assert texts["table1.csv"].count("before fine-tuning") == 1
    page = "".join(sections.table(study, texts)).partition("Before fine-tuning (stage one)")[2]
    page = page.partition("</table>")[0]
    assert "unet" in page and "other" not in page


def test_volumes_by_hand() -> None:
    text = "".join(sections.case_by_case(group_runs([record("unet", [0.5, 0.5], [0.5, 0.6])])))
    # 1000 and 2000 voxels of 0.002 ml.
    assert "case_00010: 2.0 ml, 0.500 (unet)" in text
    assert "case_00011: 4.0 ml, 0.600 (unet)" in text


def sentences(*records: Record) -> str:
    rows = group_runs(records)
    return "\n".join(text for _, text in findings.sentences(rows, comparisons.compare(rows), []))


def test_insignificant_difference() -> None:
    text = sentences(
        record("a", [0.5] * 4, [0.5, 0.4, 0.6, 0.0]), record("b", [0.5] * 4, [0.4, 0.5, 0.7, 0.0])
    )
    assert "Highest mean tumour Dice: b, 0.400" in text
    assert "Whether it is better than a is undecided." in text
    assert "b against a: undecided: +0.025 tumour Dice" in text
    assert "a has a tumour Dice of 0 in 1 of 4 cases (case_00013)" in text


def test_significant_difference_with_one_seed() -> None:
    low, high = [0.1 + i / 100 for i in range(12)], [0.6 + i / 90 for i in range(12)]
    text = sentences(record("a", low, low), record("b", high, high))
    assert "The networks b and a differ; with other seeds, they may not: +0." in text
    text = sentences(record("a", low, low), *(record("b", high, high, seed=seed) for seed in (0, 1)))
    assert "The networks b and a differ; with other seeds, they may not: +0." in text
    assert "Fine-tuning changed the tumour Dice of a by +0.000" in text and "no clear change" in text


def test_rows_with_different_cases_are_not_ranked() -> None:
    text = sentences(record("a", [0.5] * 4, [0.5] * 4), record("b", [0.9] * 2, [0.9] * 2))
    assert "so their means are not comparable" in text
    assert "Highest" not in text


def test_rows_with_an_undefined_dice_in_different_cases_are_not_ranked() -> None:
    text = sentences(record("a", [0.5] * 3, [0.5, 0.6, None]), record("b", [0.5] * 3, [0.5, 0.6, 0.0]))
    assert "The rows have a tumour Dice for different cases, so their means are not comparable." in text
    undefined: list[float | None] = [None, None]
    text = sentences(*(record(name, undefined, undefined) for name in "ab"))
    assert text.startswith("No validation case has a defined tumour Dice.")


def test_several_sites_are_summarised_first() -> None:
    both = [record("a", [0.5] * 3, [0.4, 0.5, 0.6]), record("b", [0.5] * 3, [0.5, 0.6, 0.8])]
    sites = [exchange.at_site(each, site) for site in ("x", "y", "z") for each in both]
    study = tables.study(sites)
    found = findings.sentences(study.rows, study.comparisons, [], combine.combine(study))
    lines = [text for place, text in found if place == "sites"]
    assert found[: len(lines)] == [("sites", line) for line in lines]
    assert re.fullmatch(
        r"Mean tumour Dice over 3 sites: a, 0\.500 \(95 % interval 0\.3\d+ to 0\.6\d+\); "
        r"the mean at a new site is expected between 0\.\d+ and 0\.\d+\.",
        lines[0],
    )
    start = "Mean tumour Dice over 3 sites: b − a, +0.133 (95 % interval"
    assert len(lines) == 3 and lines[2].startswith(start)


def test_the_range_of_a_new_site_is_drawn_in_full() -> None:
    dice: dict[str, list[float | None]] = {"x": [0.4, 0.5], "y": [0.5, 0.6], "z": [0.6, 0.7]}
    sites = [exchange.at_site(record("a", each, each), site) for site, each in dice.items()]
    (pooled,) = [p for p in combine.combine(tables.study(sites)) if p.region == "tumour"]
    y = svg.TOP + 3 * forest.LANE + 30  # of all sites, below three sites
    (ends,) = re.findall(rf'points="([\d.]+),{y} ([\d.]+),{y}" class="axis"', forest.plot_sites(pooled))
    assert float(ends[0]) > svg.LEFT and float(ends[1]) < svg.WIDTH - svg.RIGHT


def test_long_labels_are_shortened_and_explained() -> None:
    options = [{"overrides": ["model=unet", f"data.background_keep={k}", "more=1"]} for k in (0.02, 0.1)]
    study = tables.study([record("unet", [0.5] * 3, [0.4, 0.5, 0.6], **o) for o in options])
    assert shorten_labels(study.rows) == {
        "A unet": "unet, data.background_keep=0.02",
        "B unet": "unet, data.background_keep=0.1",
    }
    assert {c.label for c in study.comparisons} == {"B unet − A unet"}
    names = list(shorten_labels([Row(f"unet, {30 * 'x'}", []) for _ in range(703)]))
    assert [names[n].split()[0] for n in (0, 25, 26, 27, 701, 702)] == [
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
    assert svg.log_ticks(0.8, 60) == pytest.approx([1, 2, 5, 10, 20, 50])
    assert svg.log_ticks(0.5, 1500) == pytest.approx([1, 10, 100, 1000])
    frame = svg.Frame((0, 2))
    assert frame.px(1) == pytest.approx((frame.px(0) + frame.px(2)) / 2)
    assert frame.py(0) - frame.py(1) == svg.HEIGHT - svg.TOP - svg.BOTTOM
    assert (svg.tick_text(-0.5), svg.tick_text(0.30000000000000004)) == ("\u22120.5", "0.3")


def test_tables_of_an_earlier_report_are_removed_but_no_other_files(tmp_path: Path) -> None:
    write_run(tmp_path / "0_a", record("a", [0.5, 0.6], [0.6, 0.7]))
    out = tmp_path / "out"
    out.mkdir()
    (out / "differences.csv").write_text("of the user")
    publish(runs.find_jobs([tmp_path]), out)
    assert (out / "differences.csv").read_text() == "of the user"
    write_run(tmp_path / "1_b", record("b", [0.5, 0.6], [0.6, 0.7]))
    publish(runs.find_jobs([tmp_path]), out)
    assert (out / "differences.csv").read_text() != "of the user"
    publish(runs.find_jobs([tmp_path / "0_a"]), out)
    assert not (out / "differences.csv").exists()


def test_tables_and_page_are_written_together(tmp_path: Path) -> None:
    write_run(tmp_path / "0_a", record("unet", [0.5, 0.6], [0.6, 0.7]))
    out = tmp_path / "out"
    out.mkdir()
    paths = publish(runs.find_jobs([tmp_path]), out)
    assert [p.name for p in paths][:3] == ["table1.md", "table1.csv", "table1.tex"]
    assert paths[-1].name == "report.html" and r"\toprule" in (out / "table1.tex").read_text()
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in paths)
