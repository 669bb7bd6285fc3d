"""Report sections with tables and plots of scores, each with a sentence on how to read it."""

import math
from collections.abc import Mapping, Sequence

from kitsseg.data.labels import OFFICIAL
from kitsseg.reporting import comparisons, formats, strata, tables
from kitsseg.reporting.html import plots
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.table_rows import Cell, Row
from kitsseg.reporting.tables import Study

# Tumour first, since models differ most there.
REGIONS = tuple(reversed(OFFICIAL))


def plot_grid(*plots: tuple[Html, str]) -> Html:
    """Return plots side by side with their captions."""
    figures = (el("figure", svg, el("figcaption", text) if text else None) for svg, text in plots)
    return el("div", *figures, class_="plots")


def html_table(
    head: Sequence[object], body: Sequence[Sequence[object]], label: str, class_: str
) -> Html:
    """Return a table that scrolls sideways on narrow screens; the first column names the rows."""
    names = el("thead", el("tr", *(el("th", h, scope="col") for h in head)))
    lines = (el("tr", el("th", row[0], scope="row"), *(el("td", c) for c in row[1:])) for row in body)
    table = el("table", names, el("tbody", *lines), class_=class_)
    return el("div", table, class_="scroll", tabindex=0, role="region", aria_label=label)


def folded_text(title: str, text: str) -> Html:
    """Return preformatted text that is folded until opened."""
    inner = el("pre", text, tabindex=0, role="region", aria_label=title)
    return el("details", el("summary", title), inner)


def table(study: Study, texts: Mapping[str, str]) -> Html:
    """Return Table 1, followed by its Markdown, CSV and LaTeX forms from ``texts``."""
    final = [[row.label, *map(_cell, cells)] for row, cells in zip(study.rows, study.final, strict=True)]
    parts = [html_table(tables.HEAD, [*final, *tables.PAPER], "Table 1", "figures")]
    stage_one = zip(study.rows, study.before, strict=True)
    if before := [[row.label, *map(_cell, cells)] for row, cells in stage_one if row.is_fine_tuned]:
        parts.append(el("h3", "Before fine-tuning (stage one)"))
        parts.append(html_table(tables.HEAD, before, "Table 1 before fine-tuning", "figures"))
    parts.append(el("p", tables.note(study), class_="note"))
    forms = {"md": "As Markdown (all tables)", "csv": "As CSV", "tex": "As LaTeX (booktabs)"}
    parts += [folded_text(title, texts[f"table1.{ending}"]) for ending, title in forms.items()]
    return join(*parts)


def _cell(cell: Cell) -> Html:
    """Return mean and standard deviation over seeds with the interval below them."""
    spread = None if math.isnan(cell.sd) else f" ± {cell.sd:.3f}"
    limits = None
    if not math.isnan(cell.mean.low):
        limits = el("small", f"{cell.mean.low:.3f} to {cell.mean.high:.3f}")
    return join(formats.number(cell.mean.mean), spread, limits)


def uncertainty(study: Study) -> Html | None:
    """Return means and differences with their intervals."""
    if not any(row.cases("validation") for row in study.rows):
        return None
    text = (
        "Large marker: mean over cases. Bar: 95 % interval of the mean. Small strokes: single cases. "
        "Hover over a case to see its name and to highlight it in all plots."
    )
    parts = [el("p", text)]
    parts.append(plot_grid(*((plots.plot_means(study.rows, region), "") for region in REGIONS)))
    if found := [c for c in study.comparisons if c.paired.cases]:
        pairs = [[c for c in found if c.region == region] for region in REGIONS]
        text = (
            "Mean difference of Dice between two rows on their common cases. If the bar crosses the "
            "dashed line, the difference is not significant."
        )
        parts += [el("h3", "Paired differences"), el("p", text)]
        parts.append(plot_grid(*((plots.plot_differences(pair), "") for pair in pairs if pair)))
        cells = comparisons.comparison_cells(found)
        parts.append(html_table(comparisons.HEAD, cells, "Differences", "figures"))
        parts.append(el("p", comparisons.NOTE, class_="note"))
    return join(*parts)


def case_by_case(rows: Sequence[Row]) -> Html | None:
    """Return each case's scores: compared between rows, by tumour volume, and as a table."""
    entries = [item for row in rows for item in row.cases("validation").items()]
    if not entries:
        return None
    volumes_ml = {case: ml for case, entry in entries if (ml := strata.tumour_ml(entry)) is not None}
    drawn = []
    if len(rows) > 1:
        text = "One line per case. A rising line means that the row on the right scores higher."
        drawn = [(plots.plot_cases_across(rows, region), text) for region in REGIONS]
    if any(ml > 0 for ml in volumes_ml.values()):
        text = "Tumour Dice by true tumour volume. Vertical lines connect the scores of one case."
        drawn.append((plots.plot_by_volume(rows, volumes_ml), text))
    else:
        text = "Tumour volumes are not available (records of version 1 do not store them)."
        drawn.append((el("p", text), ""))
    columns = {f"{r}: {row.label}": row.validation_dice(r) for r in REGIONS for row in rows}
    body = [
        [case, *(f"{scores[case]:.3f}" if case in scores else "–" for scores in columns.values())]
        for case in sorted(dict(entries))
    ]
    head = ["Case", *columns]
    if volumes_ml:
        head.insert(1, "Tumour [ml]")
        for line in body:
            line.insert(1, f"{volumes_ml[line[0]]:.1f}" if line[0] in volumes_ml else "–")
    title = f"All {len(body)} validation cases (click a column head to sort)"
    cells = html_table(head, body, "All validation cases", "figures sortable")
    return join(plot_grid(*drawn), el("details", el("summary", title), cells))


def by_stratum(study: Study) -> Html | None:
    """Return scores by tumour size and stage."""
    parts: list[Html] = []
    for groups in study.strata:
        head, body = strata.stratum_head(groups), strata.stratum_cells(groups)
        parts += [el("h3", groups.name), html_table(head, body, groups.name, "figures strata")]
    return join(*parts) if parts else None


def fine_tuning(rows: Sequence[Row]) -> Html | None:
    """Return each case's score before and after fine-tuning."""
    drawn = []
    for i, row in enumerate(rows):
        if row.is_fine_tuned and row.cases("validation"):
            changes = {region: row.fine_tuning_change(region) for region in REGIONS}
            texts = (f"{r} {plots.signed(d.mean)}{plots.interval_text(d)}" for r, d in changes.items())
            text = f"{row.label}: {'; '.join(texts)}."
            drawn.append((plots.plot_fine_tuning(row, i, "tumour"), text))
    if not drawn:
        return None
    text = (
        "Stage two trains on tumour slices only, with frozen shallow layers. "
        "One line per validation case; the captions state the mean change of Dice."
    )
    return join(el("p", text), plot_grid(*drawn))


def learning_curves(rows: Sequence[Row]) -> Html:
    """Return the losses of each row and the validation Dice of all rows by epoch."""
    known = {i: row for i, row in enumerate(rows) if any(any(r.curves.values()) for r in row.runs)}
    if not known:
        return el("p", "Learning curves are not available (records of version 1 do not store them).")
    drawn = []
    for i, row in known.items():
        plot = plots.plot_learning({i: row}, {"train/loss": "dashed", "val/loss": "solid"}, "loss")
        drawn.append((plot, f"{row.label}: training loss (dashed) and validation loss (solid)."))
    for region in REGIONS:
        metric = {f"val/{region}_dice": "solid"}
        text = f"{region.capitalize()} Dice of the validation cases by epoch, on the prepared grid."
        drawn.append((plots.plot_learning(known, metric, f"{region} Dice", 1.0), text))
    missing = ", ".join(row.label for i, row in enumerate(rows) if i not in known)
    rest = el("p", f"Without learning curves: {missing}.", class_="note") if missing else None
    return join(plot_grid(*drawn), rest)
