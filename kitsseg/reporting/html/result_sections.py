"""Report sections with tables and plots of scores, each with a sentence on how to read it."""

import math
from collections.abc import Mapping, Sequence

from kitsseg.data.labels import OFFICIAL
from kitsseg.reporting import comparisons, formats, strata, tables
from kitsseg.reporting.html import plots
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.html.row_dice import dice_by_case, fine_tuning_change
from kitsseg.reporting.table_rows import Row
from kitsseg.reporting.tables import Cell, Study

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
    lines = (el("tr", el("th", row[0], scope="row"), *(el("td", c) for c in row[1:])) for row in body)
    table = el(
        "table",
        el("thead", el("tr", *(el("th", h, scope="col") for h in head))),
        el("tbody", *lines),
        class_=class_,
    )
    return el("div", table, class_="scroll", tabindex=0, role="region", aria_label=label)


def folded_text(title: str, text: str) -> Html:
    """Return preformatted text that is folded until opened."""
    inner = el("pre", text, tabindex=0, role="region", aria_label=title)
    return el("details", el("summary", title), inner)


def table(study: Study, texts: Mapping[str, str]) -> Html:
    """Return Table 1, followed by its Markdown, CSV and LaTeX forms from ``texts``."""
    final = [[row.label, *map(_cell, cells)] for row, cells in zip(study.rows, study.final, strict=True)]
    final += [[name, *(f"{v:.2f}" for v in values)] for name, values in tables.PAPER.items()]
    parts = [html_table(tables.HEAD, final, "Table 1", "figures")]
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
    text = formats.number(cell.mean.mean)
    text += "" if math.isnan(cell.sd) else f" ± {cell.sd:.3f}"
    if math.isnan(cell.mean.low):
        return join(text)
    return join(text, el("small", f"{cell.mean.low:.3f} to {cell.mean.high:.3f}"))


def uncertainty(study: Study) -> Html | None:
    """Return means and differences with their intervals."""
    if not any(row.cases("validation") for row in study.rows):
        return None
    text = (
        "Large marker: mean over cases. Bar: 95 % interval of the mean. Small strokes: single cases. "
        "Hover over a case to see its name and to highlight it in all plots."
    )
    means = plot_grid(*((plots.plot_means(study.rows, region), "") for region in REGIONS))
    parts = [el("p", text), means]
    if not study.comparisons:
        return join(*parts)
    pairs = [[c for c in study.comparisons if c.region == r and c.paired.cases] for r in REGIONS]
    text = (
        "Mean difference of Dice between two rows on their common cases. If the bar crosses the dashed "
        "line, the difference is not significant."
    )
    cells = comparisons.comparison_cells(study.comparisons)
    return join(
        *parts,
        el("h3", "Paired differences"),
        el("p", text),
        plot_grid(*((plots.plot_differences(pair), "") for pair in pairs if pair)),
        html_table(comparisons.HEAD, cells, "Differences", "figures"),
        el("p", comparisons.NOTE, class_="note"),
    )


def case_by_case(rows: Sequence[Row], volumes_ml: Mapping[str, float]) -> Html | None:
    """Return each case's scores: compared between rows, by tumour volume, and as a table."""
    cases = sorted({case for row in rows for case in row.cases("validation")})
    if not cases:
        return None
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
    head: list[object] = ["Case", *(["Tumour [ml]"] if volumes_ml else [])]
    head += [f"{region}: {row.label}" for region in REGIONS for row in rows]
    scores = [dice_by_case(row, region) for region in REGIONS for row in rows]
    body = [
        [
            case,
            *([f"{volumes_ml[case]:.1f}" if case in volumes_ml else "–"] if volumes_ml else []),
            *(f"{s[case]:.3f}" if case in s else "–" for s in scores),
        ]
        for case in cases
    ]
    title = f"All {len(cases)} validation cases (click a column head to sort)"
    cells = html_table(head, body, "All validation cases", "figures sortable")
    return join(plot_grid(*drawn), el("details", el("summary", title), cells))


def by_stratum(study: Study) -> Html | None:
    """Return scores by tumour size and stage."""
    parts: list[Html] = []
    for groups, scores in study.strata:
        head, body = strata.stratum_head(groups), strata.stratum_cells(scores)
        parts += [el("h3", groups.name), html_table(head, body, groups.name, "figures strata")]
    return join(*parts) if parts else None


def fine_tuning(rows: Sequence[Row]) -> Html | None:
    """Return each case's score before and after fine-tuning."""
    drawn = []
    for i, row in enumerate(rows):
        if not row.is_fine_tuned or not row.cases("validation"):
            continue
        changes = {region: fine_tuning_change(row, region).difference for region in REGIONS}
        texts = (f"{r} {plots.signed(d.mean)}{plots.interval_text(d)}" for r, d in changes.items())
        drawn.append((plots.plot_fine_tuning(row, i, "tumour"), f"{row.label}: {'; '.join(texts)}."))
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
    loss = [("train/loss", "dashed"), ("val/loss", "solid")]
    drawn = [
        (
            plots.plot_learning({i: row}, loss, "loss", None),
            f"{row.label}: training loss (dashed) and validation loss (solid).",
        )
        for i, row in known.items()
    ]
    drawn += [
        (
            plots.plot_learning(known, [(f"val/{region}_dice", "solid")], f"{region} Dice", (0.0, 1.0)),
            f"{region.capitalize()} Dice of the validation cases by epoch, on the prepared grid.",
        )
        for region in REGIONS
    ]
    missing = [row.label for i, row in enumerate(rows) if i not in known]
    rest = el("p", f"Without learning curves: {', '.join(missing)}.", class_="note") if missing else None
    return join(plot_grid(*drawn), rest)
