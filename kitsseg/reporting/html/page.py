"""Write the report as one self-contained HTML page that works offline."""

import base64
import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count, product
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from kitsseg.reporting import tables
from kitsseg.reporting.html import findings, provenance_section, result_sections, slices
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.html.svg import marker
from kitsseg.reporting.runs import Job
from kitsseg.reporting.table_rows import Row
from kitsseg.reporting.tables import Study
from kitsseg.system.files import write_text

NAME = "report.html"
FOLDER = Path(__file__).parent
MAX_LABEL = 26  # a longer label of any row shortens all


def publish(jobs: Sequence[Job], folder: Path) -> list[Path]:
    """Write all tables and then the page into ``folder`` and return the paths."""
    missing = [job for job in jobs if job.record is None]
    study = tables.study([job.record for job in jobs if job.record is not None], missing)
    texts = tables.texts(study)
    texts[NAME] = render(jobs, study, texts)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def render(jobs: Sequence[Job], study: Study, texts: Mapping[str, str]) -> str:
    """Return the page of ``jobs``; shorten the labels of ``study``, whose tables are ``texts``."""
    rows, full_labels = study.rows, shorten_labels(study.rows)
    showcases = slices.find_showcases(rows, {id(job.record): job.folder for job in jobs})
    viewers, data = slices.slice_viewers(showcases)
    # (id, short title for the navigation, title, content)
    sections: list[tuple[str, str, str, Html | None]] = [
        ("findings", "Findings", "Findings", summary(jobs, study))
    ]
    if rows:
        sections += [
            ("table", "Table 1", "Table 1", result_sections.table(study, texts)),
            ("sure", "Uncertainty", "Uncertainty", result_sections.uncertainty(study)),
            ("cases", "Cases", "Results per case", result_sections.case_by_case(rows)),
            ("strata", "Tumour size", "Tumour size and stage", result_sections.by_stratum(study)),
            ("tuning", "Fine-tuning", "Effect of fine-tuning", result_sections.fine_tuning(rows)),
            ("curves", "Curves", "Learning curves", result_sections.learning_curves(rows)),
            ("slices", "Slices", "Best, median and worst cases", viewers),
            ("attention", "Attention", "Attention maps", slices.attention(showcases)),
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


def shorten_labels(rows: Sequence[Row]) -> dict[str, str]:
    """Shorten the labels of ``rows`` in place, such as to ``B attn_unet``, and return ``{short: full}``.

    Labels change only if one of them is longer than `MAX_LABEL`.
    """
    full = [row.label for row in rows]
    if any(len(label) > MAX_LABEL for label in full):
        letters = ("".join(text) for n in count(1) for text in product(ascii_uppercase, repeat=n))
        for row, letter in zip(rows, letters, strict=False):
            row.label = f"{letter} {row.label.split(', ')[0][:MAX_LABEL]}"
    return dict(zip((row.label for row in rows), full, strict=True))


def document(title: str, body: Html, data: dict[str, Any]) -> str:
    """Return the HTML document with its style, its script and the script's data."""
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    # Blocks network requests and any other script that a record's text might contain.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = [
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{title}: report"),
        el("style", Html(style)),
    ]
    # Without "<", the text cannot end the script element.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    scripts = [
        el("script", Html(text), type="application/json", id="slices-data"),
        el("script", Html(script)),
    ]
    page = el("html", el("head", *head), el("body", body, *scripts), lang="en")
    return f"<!doctype html>\n{page}\n"


def header(title: str, jobs: Sequence[Job], full_labels: Mapping[str, str]) -> Html:
    """Return title, theme button and the legend of the rows, ``full_labels`` by short label."""
    counts = ", ".join(f"{n} {state}" for state, n in Counter(job.state for job in jobs).items())
    created = time.strftime("%Y-%m-%d %H:%M")
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
