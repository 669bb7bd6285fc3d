"""Write the report as one self-contained HTML page that works offline."""

import base64
import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kitsseg.reporting import formats, tables
from kitsseg.reporting.html import case_sections, findings, provenance_section, result_sections
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.html.row_dice import tumour_volumes_ml
from kitsseg.reporting.html.row_labels import shorten_labels
from kitsseg.reporting.html.svg import marker
from kitsseg.reporting.runs import Job
from kitsseg.reporting.tables import Study

NAME = "report.html"
FOLDER = Path(__file__).parent


def publish(jobs: Sequence[Job], folder: Path) -> list[Path]:
    """Write all tables and then the page into ``folder`` and return the paths."""
    missing = [
        tables.MissingRun(job.folder.name, job.state, job.reason) for job in jobs if job.record is None
    ]
    study = tables.study([job.record for job in jobs if job.record is not None], missing)
    texts = tables.texts(study) if study.rows else {}
    return formats.write_texts({**texts, NAME: render(jobs, study)}, folder)


def render(jobs: Sequence[Job], study: Study) -> str:
    """Return the page of ``jobs``; ``study`` contains those with a record."""
    texts = tables.texts(study) if study.rows else {}
    study, full_labels = shorten_labels(study)
    rows = study.rows
    showcases = case_sections.find_showcases(rows, {id(job.record): job.folder for job in jobs})
    slices, data = case_sections.slice_viewers(showcases)
    # (id, short title for the navigation, title, content)
    sections: list[tuple[str, str, str, Html | None]] = [
        ("findings", "Findings", "Findings", summary(jobs, study))
    ]
    if rows:
        volumes = tumour_volumes_ml(rows)
        sections += [
            ("table", "Table 1", "Table 1", result_sections.table(study, texts)),
            ("sure", "Uncertainty", "Uncertainty", result_sections.uncertainty(study)),
            ("cases", "Cases", "Results per case", result_sections.case_by_case(rows, volumes)),
            ("strata", "Tumour size", "Tumour size and stage", result_sections.by_stratum(study)),
            ("tuning", "Fine-tuning", "Effect of fine-tuning", result_sections.fine_tuning(rows)),
            ("curves", "Curves", "Learning curves", result_sections.learning_curves(rows)),
            ("slices", "Slices", "Best, median and worst cases", slices),
            ("attention", "Attention", "Attention maps", case_sections.attention(showcases)),
        ]
    provenance = provenance_section.provenance(jobs, rows)
    sections.append(("run", "Runs", "Runs and configurations", provenance))
    sections = [section for section in sections if section[-1] is not None]
    titles = sorted({job.record.name for job in jobs if job.record is not None})
    title = ", ".join(titles) if titles else "Runs without results"
    links = (el("li", el("a", short, href=f"#{name}")) for name, short, *_ in sections)
    body = join(
        header(title, jobs, full_labels),
        el("nav", el("ul", *links), aria_label="Contents"),
        el("main", *(el("section", el("h2", t), content, id=n) for n, _, t, content in sections)),
    )
    return document(title, body, data)


def document(title: str, body: Html, data: dict[str, Any]) -> str:
    """Return the HTML document with its style, its script and the script's data."""
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    head = [
        el("meta", charset="utf-8"),
        # Blocks network requests and any other script that a record's text might contain.
        el("meta", http_equiv="Content-Security-Policy", content=security_policy(script)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{title}: report"),
        el("style", Html(style)),
    ]
    scripts = [
        el("script", Html(script_json(data)), type="application/json", id="slices-data"),
        el("script", Html(script)),
    ]
    page = el("html", el("head", *head), el("body", body, *scripts), lang="en")
    return f"<!doctype html>\n{page}\n"


def header(title: str, jobs: Sequence[Job], full_labels: Mapping[str, str]) -> Html:
    """Return title, theme button and the legend of the rows, ``full_labels`` by short label."""
    counts = ", ".join(f"{n} {state}" for state, n in Counter(job.state for job in jobs).items())
    created = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    legend = []
    for i, (short, full) in enumerate(full_labels.items()):
        symbol = el("svg", marker(7, 7, i, short), viewBox="0 0 14 14", aria_hidden="true")
        explanation = el("span", f": {full}", class_="long") if full != short else None
        legend.append(el("li", symbol, el("span", el("b", short), explanation)))
    return el(
        "header",
        el("button", "Light / dark", type="button", id="theme"),
        el("p", "kitsseg report", class_="kicker"),
        el("h1", title),
        el("p", f"{findings.plural(len(jobs), 'run')} ({counts}); created {created}", class_="sub"),
        el("ul", *legend, class_="key", aria_label="Rows") if legend else None,
    )


def summary(jobs: Sequence[Job], study: Study) -> Html:
    """Return the findings as a list."""
    if not study.rows:
        return el("p", "No run has produced results yet; see “Runs”.")
    note = (
        "Dice of the official regions (kidney: label > 0, tumour: label > 1) on the validation cases "
        "after the last stage. Significant: the 95 % interval excludes 0 and p < 0.05. "
        "p: two-sided Wilcoxon signed-rank test over cases, corrected by Holm's method for all "
        "comparisons on this page. The weights with the best validation loss were selected, so all "
        "validation scores are optimistically biased."
    )
    found = findings.sentences(study.rows, study.comparisons, jobs)
    items = el("ul", *(el("li", sentence) for sentence in found), class_="findings")
    return join(items, el("p", note, class_="note"))


def script_json(data: dict[str, Any]) -> str:
    """Return ``data`` as JSON that is safe inside a script element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def security_policy(script: str) -> str:
    """Return a content security policy that allows only ``script`` and inline images and styles."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
