"""Write the report as one self-contained HTML page that works offline."""

import base64
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, product
from pathlib import Path
from string import Template, ascii_uppercase
from typing import Any

from kitsseg.reporting import tables
from kitsseg.reporting.comparisons import MARGIN
from kitsseg.reporting.formats import title
from kitsseg.reporting.html import findings, forest, outlines, sections, slices, trace
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.html.svg import marker
from kitsseg.reporting.runs import Job
from kitsseg.reporting.sites import combine
from kitsseg.reporting.table_rows import Row
from kitsseg.reporting.tables import Study
from kitsseg.system.files import write_text

NAME = "report.html"
FOLDER = Path(__file__).parent
MAX_LABEL = 26  # a longer label of any row shortens all


def publish(
    jobs: Sequence[Job], folder: Path, margin: float = MARGIN, searched: Any = None
) -> list[Path]:
    """Write all tables and then the page into ``folder`` and return the paths.

    Rows are equivalent if the 90 % interval of their difference in Dice lies within ±``margin``.
    ``searched`` is the value of ``runs`` in `kitsseg.report`, by default ``folder``.
    """
    missing = [job for job in jobs if job.record is None]
    study = tables.study([job.record for job in jobs if job.record is not None], missing, margin)
    texts = tables.texts(study) | combine.texts(combine.combine(study))
    texts[NAME] = render(jobs, study, texts, str(folder) if searched is None else searched)
    if (folder / NAME).is_file():  # an earlier report, whose other tables would be out of date
        for name in {*tables.FILES, *combine.FILES} - texts.keys():
            (folder / name).unlink(missing_ok=True)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def render(jobs: Sequence[Job], study: Study, texts: Mapping[str, str], searched: Any) -> str:
    """Return the page of ``jobs``, which ``runs=searched`` finds.

    It shortens the labels of ``study``, whose tables are ``texts``.
    """
    rows, full_labels, pooled = study.rows, shorten_labels(study.rows), combine.combine(study)
    data: dict[str, Any] = {}
    style, script, page = (
        (FOLDER / name).read_text(encoding="utf-8") for name in ("style.css", "script.js", "page.html")
    )
    # (id, short title for the navigation, title, content)
    parts: list[tuple[str, str, str, Iterable[Html]]] = [
        ("findings", "Findings", "Findings", sections.summary(jobs, study, pooled))
    ]
    if rows:
        labels = study.labels
        size = f"{title(labels.target)} size"
        showcases = slices.find_showcases(rows, {id(job.record): job.folder for job in jobs})
        viewers, data = slices.slice_viewers(showcases, labels)
        style += outlines.style(labels)
        parts += [
            ("table", "Table 1", "Table 1", sections.table(study, texts)),
            ("sites", "Sites", "Several sites", forest.several_sites(pooled)),
            ("sure", "Uncertainty", "Uncertainty", sections.uncertainty(study)),
            ("cases", "Cases", "Results per case", sections.case_by_case(rows)),
            ("strata", size, f"{size} and stage", sections.by_stratum(study)),
            ("tuning", "Fine-tuning", "Effect of fine-tuning", sections.fine_tuning(rows)),
            ("curves", "Curves", "Learning curves", sections.learning_curves(rows)),
            ("slices", "Slices", "Best, median and worst cases", viewers),
            ("attention", "Attention", "Attention maps", slices.attention(showcases, labels)),
        ]
    parts.append(("sources", "Sources", "Sources of the numbers", trace.sources(study, jobs, searched)))
    parts.append(("run", "Runs", "Runs and configurations", sections.provenance(jobs, rows)))
    filled = [(name, short, el("h2", t), html) for name, short, t, p in parts if (html := join(*p))]
    states = ", ".join(f"{n} {state}" for state, n in Counter(job.state for job in jobs).items())
    titles = sorted({job.record.name for job in jobs if job.record is not None})
    return Template(page).substitute(
        title=join(", ".join(titles) if titles else "Runs without results"),
        jobs=f"{findings.plural(len(jobs), 'run')} ({states})",
        created=time.strftime("%Y-%m-%d %H:%M"),
        legend=legend(full_labels),
        links=join(*(el("li", el("a", short, href=f"#{name}")) for name, short, *_ in filled)),
        sections=join(*(el("section", title, html, id=name) for name, _, title, html in filled)),
        # Without "<", the text cannot end the script element.
        data=json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        style=style,
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


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


def legend(full_labels: Mapping[str, str]) -> Html:
    """Return the marker and the label of each row; ``full_labels`` by short label."""
    items = []
    for i, (short, full) in enumerate(full_labels.items()):
        symbol = el("svg", marker(7, 7, i, short), viewBox="0 0 14 14", aria_hidden="true")
        explanation = el("span", f": {full}", class_="long") if full != short else None
        items.append(el("li", symbol, el("span", el("b", short), explanation)))
    return el("ul", *items, class_="key", aria_label="Rows") if items else Html()
