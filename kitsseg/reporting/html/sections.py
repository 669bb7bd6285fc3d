"""All sections of the page except the slices: tables, plots and provenance.

Each function yields the elements of a section; a section without elements is left out of the page.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from kitsseg.reporting import comparisons, regions, strata, tables
from kitsseg.reporting.configurations import as_texts, differing
from kitsseg.reporting.formats import title, words
from kitsseg.reporting.html import findings, plots, trace
from kitsseg.reporting.html.markup import Html, el, folded_text, html_table, join, link, plot_grid
from kitsseg.reporting.runs import Job
from kitsseg.reporting.sites.combine import Pooled
from kitsseg.reporting.table_rows import Row, target_words
from kitsseg.reporting.tables import Study


def summary(jobs: Sequence[Job], study: Study, pooled: Sequence[Pooled]) -> Iterator[Html]:
    """Yield the findings as a list."""
    if not study.rows:
        yield el("p", "No run has produced results yet; see “Runs”.")
        return
    found = findings.sentences(study.rows, study.comparisons, jobs, pooled)
    lines = (el("li", text, " ", el("a", "numbers", href=f"#{place}")) for place, text in found)
    yield el("ul", *lines, class_="findings")
    note = (
        f"Dice of the {regions.explain(study.labels)} on the validation cases "
        "after the last stage. The note below the differences explains the verdicts; p is corrected "
        "for all comparisons on this page."
    )
    if tables.trained_runs(study.rows):
        note += f" {tables.selection(study.rows)}."
    yield el("p", note, class_="note")


def table(study: Study, texts: Mapping[str, str]) -> Iterator[Html]:
    """Yield Table 1, followed by its Markdown, CSV and LaTeX forms from ``texts``."""
    head, final = tables.heads(study), [*tables.table_lines(study), *tables.paper_lines(study)]
    yield html_table(head, final, "Table 1", "figures")
    if before := tables.table_lines(study, after=False):
        yield el("h3", "Before fine-tuning (stage one)")
        yield html_table(head, before, "Table 1 before fine-tuning", "figures")
    sources = [text for cell in trace.best_cells(study) for text in (" ", link(cell))]
    yield from (el("p", line, " Sources:", *sources) for line in tables.best_lines(study))
    yield el("p", tables.note(study), class_="note")
    yield folded_text("As Markdown (all tables)", texts["table1.md"])
    yield folded_text("As CSV", texts["table1.csv"])
    yield folded_text("As LaTeX (booktabs)", texts["table1.tex"])


def uncertainty(study: Study) -> Iterator[Html]:
    """Yield means and differences with their intervals."""
    if not any(row.cases("validation") for row in study.rows):
        return
    text = (
        "Large marker: mean over cases. Bar: 95 % interval of the mean. Small strokes: single cases. "
        "Hover over a case to see its name and to highlight it in all plots."
    )
    yield el("p", text)
    ordered = regions.target_first(study.labels)
    yield plot_grid(*((plots.plot_means(study.rows, region), "") for region in ordered))
    if found := [c for c in study.comparisons if c.paired.cases]:
        pairs = [[c for c in found if c.region == region] for region in ordered]
        text = (
            "Mean difference of Dice between two rows on their common cases. If the bar crosses the "
            "dashed line, the data do not show which row is better."
        )
        yield join(el("h3", "Paired differences"), el("p", text))
        yield plot_grid(*((plots.plot_differences(pair), "") for pair in pairs if pair))
        cells = comparisons.comparison_cells(found)
        yield html_table(comparisons.HEAD, cells, "Differences", "figures")
        yield el("p", comparisons.note(found), class_="note")


def case_by_case(rows: Sequence[Row]) -> Iterator[Html]:
    """Yield each case's scores: compared between rows, by volume, and as a table."""
    entries = [item for row in rows for item in row.cases("validation").items()]
    if not entries:
        return
    labels = rows[0].labels
    target, ordered = labels.target, regions.target_first(labels)
    known = ((case, strata.true_ml(entry, target)) for case, entry in entries)
    volumes_ml = {case: ml for case, ml in known if ml is not None}
    drawn = []
    if len(rows) > 1:
        text = "One line per case. A rising line means that the row on the right scores higher."
        for region in ordered:
            columns = [(row.label, i, row.validation_dice(region)) for i, row in enumerate(rows)]
            name = f"{words(region)} Dice of each validation case in every row"
            drawn.append((plots.plot_lines(name, region, columns), text))
    if any(ml > 0 for ml in volumes_ml.values()):
        name = f"{title(target)} Dice by true {words(target)} volume"
        text = f"{name}. Vertical lines connect the scores of one case."
        drawn.append((plots.plot_by_volume(rows, target, volumes_ml), text))
    else:
        text = f"No {words(target)} volumes: no case contains it, or they were not recorded."
        drawn.append((el("p", text), ""))
    yield plot_grid(*drawn)
    head, body = trace.case_table(rows)
    name = f"All {len(body)} validation cases (click a column head to sort)"
    cells = html_table(head, body, "All validation cases", "figures sortable")
    yield el("details", el("summary", name), cells)


def by_stratum(study: Study) -> Iterator[Html]:
    """Yield scores by size and stage."""
    for groups in study.strata:
        table = html_table(*strata.stratum_table(groups), groups.name, "figures strata")
        yield join(el("h3", groups.name), table)


def fine_tuning(rows: Sequence[Row]) -> Iterator[Html]:
    """Yield each case's score before and after fine-tuning."""
    drawn = []
    for i, row in enumerate(rows):
        if row.is_fine_tuned and row.cases("validation"):
            target, ordered = row.labels.target, regions.target_first(row.labels)
            changes = zip(ordered, trace.tuning_cells(row), strict=True)
            texts = (join(f"; {words(region)} ", link(change)) for region, change in changes)
            caption = join(row.label, *texts, ".")
            before = ("before", i, row.validation_dice(target, after=False))
            columns = [before, ("after fine-tuning", i, row.validation_dice(target))]
            name = f"{words(target)} Dice of {row.label} before and after fine-tuning"
            drawn.append((plots.plot_lines(name, target, columns), caption))
    if drawn:
        text = (
            f"Stage two trains on {target_words(rows)} slices only, with frozen shallow layers. "
            "One line per validation case; the captions state the mean change of Dice."
        )
        yield join(el("p", text), plot_grid(*drawn))


def learning_curves(rows: Sequence[Row]) -> Iterator[Html]:
    """Yield the losses of each row and the validation Dice of all rows by epoch."""
    known = {i: row for i, row in enumerate(rows) if any(any(r.curves.values()) for r in row.runs)}
    if not known:
        yield el("p", "No learning curves were recorded.")
        return
    drawn = []
    for i, row in known.items():
        plot = plots.plot_learning({i: row}, {"train/loss": "dashed", "val/loss": "solid"}, "loss")
        drawn.append((plot, f"{row.label}: training loss (dashed) and validation loss (solid)."))
    for region in regions.target_first(rows[0].labels):
        metric = {f"val/{region}_dice": "solid"}
        text = f"{title(region)} Dice of the validation cases by epoch, on the prepared grid."
        drawn.append((plots.plot_learning(known, metric, f"{words(region)} Dice", 1.0), text))
    yield plot_grid(*drawn)
    if missing := ", ".join(row.label for i, row in enumerate(rows) if i not in known):
        yield el("p", f"Without learning curves: {missing}.", class_="note")


def provenance(jobs: Sequence[Job], rows: Sequence[Row]) -> Iterator[Html]:
    """Yield the state of every job, and the configurations and the environment of the rows."""
    yield join(el("h3", "Runs"), job_table(jobs, rows))
    if rows:
        yield join(el("h3", "Configurations"), *configurations(rows))
        yield join(el("h3", "Environment"), environment(rows))


def job_table(jobs: Sequence[Job], rows: Sequence[Row]) -> Html:
    """Return a table with one line per job, including failed ones."""
    labels = {id(run): row.label for row in rows for run in row.runs}
    head = ["Folder", "State", "Row", "Seed", "Epochs (best)", "Duration", "Last change"]
    body: list[list[object]] = []
    for job in jobs:
        good, run = job.state == "complete", job.record
        state = el("span" if good else "strong", job.state, class_=None if good else "bad")
        line: list[object] = ["–"] * 5
        if run is not None:
            seconds = round(sum(run.seconds.values()))
            duration = timedelta(seconds=seconds) if seconds else "–"
            line = [labels[id(run)], run.seed, _epochs(run.epochs), duration, run.version]
        changed = "–"
        if job.changed is not None:
            changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.changed))
        reason = f": {job.reason}" if job.reason else None
        body.append([job.folder.name, join(state, reason), *line[:4], changed, line[4]])
    return html_table([*head, "Record version"], body, "Runs", "runs")


def _epochs(epochs: Mapping[str, Any]) -> str:
    """Return number and best epoch of each stage, such as ``25 (21), 8 (3)``."""
    # The records of version 1 lack the best epoch.
    parts = [f"{e.get('run')} ({e.get('best')})".removesuffix(" (None)") for e in epochs.values()]
    return ", ".join(parts) if parts else "–"


def configurations(rows: Sequence[Row]) -> Iterator[Html]:
    """Yield the differences between the rows' configurations, then each configuration in full."""
    flat = [as_texts(row.runs[0].config) for row in rows]
    body = [[name, *(el("code", values.get(name, "–")) for values in flat)] for name in differing(flat)]
    if not all(flat):
        yield el("p", "Evaluations and shared files hold no configuration.")
    elif len(rows) == 1:
        yield el("p", "There is only one configuration.")
    elif not body:
        yield el("p", "The configurations are equal, except for seeds, folders and loggers.")
    else:
        head = ["Key", *(row.label for row in rows)]
        yield html_table(head, body, "Differences between configurations", "config")
        yield el("p", "Seeds, folders and loggers are not compared.", class_="note")
    for row in rows:
        text = json.dumps(row.runs[0].config, indent=1)
        yield folded_text(f"Configuration of {row.label}", text)


def environment(rows: Sequence[Row]) -> Html:
    """Return commit, versions and machine of every row; one column if all rows are equal."""
    names = dict.fromkeys(name for row in rows for run in row.runs for name in run.environment)
    columns: dict[str, list[str]] = {}
    for row in rows:
        found = ([run.environment.get(name, "–") for run in row.runs] for name in names)
        columns[row.label] = [", ".join(dict.fromkeys(str(v) or "unknown" for v in f)) for f in found]
    first, *others = columns.values()
    if all(column == first for column in others):
        columns = {"All rows": first}
    body = zip(names, *columns.values(), strict=True)
    return html_table(["Property", *columns], body, "Environment", "config")
