"""Records -> one HTML page that needs nothing else: no network, no other file."""

import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kitsseg.reporting import formats, tables
from kitsseg.reporting.html import findings, patients, provenance_section, result_sections, row_labels
from kitsseg.reporting.html.cases import tumour_ml
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.html.svg import marker
from kitsseg.reporting.runs import Job
from kitsseg.reporting.table_rows import Row
from kitsseg.reporting.tables import Study

NAME = "report.html"
_HERE = Path(__file__).parent


def publish(jobs: Sequence[Job], folder: Path) -> list[Path]:
    """Write all tables and the page into ``folder``, each whole or not at all; the page comes last."""
    undone = [
        tables.Undone(job.folder.name, job.state, job.reason) for job in jobs if job.record is None
    ]
    study = tables.study([job.record for job in jobs if job.record is not None], undone)
    texts = tables.texts(study) if study.rows else {}
    return formats.write({**texts, NAME: render(jobs, study)}, folder)


def render(jobs: Sequence[Job], study: Study) -> str:
    """The page of these jobs; ``study`` is of those that have a record."""
    texts = tables.texts(study) if study.rows else {}
    study, full = row_labels.shorten(study)
    rows = study.rows
    found = patients.find(rows, {id(job.record): job.folder for job in jobs})
    slices, data = patients.viewers(found)
    said = findings.sentences(rows, study.differences, jobs)
    sections: list[tuple[str, str, str, Html | None]]
    sections = [("findings", "Findings", "Findings", summary(rows, said))]
    if rows:
        sections += [
            ("table", "Table 1", "Table 1", result_sections.table(study, texts)),
            ("sure", "Certainty", "How sure", result_sections.how_sure(rows, study.differences)),
            ("cases", "Cases", "Case by case", result_sections.case_by_case(rows, tumour_ml(rows))),
            ("strata", "Sizes", "By size and stage of the tumour", result_sections.by_stratum(study)),
            ("tuning", "Fine-tuning", "Before and after fine-tuning", result_sections.fine_tuning(rows)),
            ("curves", "Curves", "Learning curves", result_sections.learning_curves(rows)),
            ("slices", "Slices", "Best, median and worst cases", slices),
            ("attention", "Attention", "Attention", patients.attention(found)),
        ]
    sections.append(("run", "Runs", "What was run", provenance_section.what_was_run(jobs, rows)))
    sections = [section for section in sections if section[-1] is not None]
    titles = sorted({job.record.name for job in jobs if job.record is not None})
    title = ", ".join(titles) if titles else "Runs without figures"
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    links = (el("li", el("a", short, href=f"#{name}")) for name, short, *_ in sections)
    body = [
        header(title, jobs, full),
        el("nav", el("ul", *links), aria_label="Contents"),
        el("main", *(el("section", el("h2", t), content, id=n) for n, _, t, content in sections)),
        el("script", Html(encode(data)), type="application/json", id="slices-data"),
        el("script", Html(script)),
    ]
    head = [
        el("meta", charset="utf-8"),
        # Nothing from anywhere, and no script but ours, whatever a record's text holds.
        el("meta", http_equiv="Content-Security-Policy", content=policy(script)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{title}: report"),
        el("style", Html(style)),
    ]
    page = el("html", el("head", *head), el("body", *body), lang="en")
    return f"<!doctype html>\n{page}\n"


def header(title: str, jobs: Sequence[Job], full: Mapping[str, str]) -> Html:
    """What the page is of, the key to the rows' colours, and the button for light or dark."""
    states: dict[str, int] = {}
    for job in jobs:
        states[job.state] = states.get(job.state, 0) + 1
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    keys = []
    for i, (short, long) in enumerate(full.items()):
        sign = el("svg", marker(7, 7, i, short), viewBox="0 0 14 14", aria_hidden="true")
        about = el("span", f": {long}", class_="long") if long != short else None
        keys.append(el("li", sign, el("span", el("b", short), about)))
    return el(
        "header",
        el("button", "Light / dark", type="button", id="theme"),
        el("p", "kitsseg report", class_="kicker"),
        el("h1", title),
        el("p", f"{findings.count(len(jobs), 'run')} ({counts}); made {made}", class_="sub"),
        el("ul", *keys, class_="key", aria_label="Rows") if keys else None,
    )


def summary(rows: Sequence[Row], said: list[str]) -> Html:
    """The findings as a list."""
    if not rows:
        return el("p", "None of the runs has figures yet: see what was run.")
    note = (
        "Dice of the official regions on validation cases (kidney: label > 0, tumour: label > 1), "
        "after the last stage. p is two-sided, of Wilcoxon's signed-rank test over cases, with Holm's "
        "correction for all comparisons of this page. The weights are those with the best validation "
        "loss, so all figures are somewhat optimistic."
    )
    items = el("ul", *(el("li", sentence) for sentence in said), class_="findings")
    return join(items, el("p", note, class_="note"))


def encode(data: dict[str, Any]) -> str:
    """JSON that can stand in a script element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def policy(script: str) -> str:
    """A content security policy that allows this one script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
