"""The sections of a report that show figures, each with a sentence on how to read it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kitsseg.data.labels import OFFICIAL
from kitsseg.reporting import comparisons, formats, strata, tables
from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.html import plots
from kitsseg.reporting.html.cases import by_case, tuning
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.table_rows import Row
from kitsseg.reporting.tables import Cell, Study, is_tuned

# The tumour first: it is what the models differ in.
REGIONS = tuple(reversed(OFFICIAL))


def grid(*items: tuple[Html, str]) -> Html:
    """Plots beside each other, each with its caption."""
    made = (el("figure", drawing, el("figcaption", text) if text else None) for drawing, text in items)
    return el("div", *made, class_="plots")


def sheet(head: Sequence[object], body: Sequence[Sequence[object]], label: str, class_: str) -> Html:
    """A table whose first column names its rows; it scrolls sideways where the screen is narrow."""
    lines = (el("tr", el("th", row[0], scope="row"), *(el("td", c) for c in row[1:])) for row in body)
    table = el(
        "table",
        el("thead", el("tr", *(el("th", h, scope="col") for h in head))),
        el("tbody", *lines),
        class_=class_,
    )
    return el("div", table, class_="scroll", tabindex=0, role="region", aria_label=label)


def code(title: str, text: str) -> Html:
    """A text to be copied, folded away."""
    inner = el("pre", text, tabindex=0, role="region", aria_label=title)
    return el("details", el("summary", title), inner)


def table(study: Study, texts: Mapping[str, str]) -> Html:
    """Table 1 with intervals, and its forms for a paper, ``texts`` by their files' names."""
    final = [[row.label, *map(_cell, cells)] for row, cells in zip(study.rows, study.final, strict=True)]
    final += [[name, *(f"{v:.2f}" for v in values)] for name, values in tables.PAPER.items()]
    parts = [sheet(tables.HEAD, final, "Table 1", "figures")]
    if any(is_tuned(row) for row in study.rows):
        both = zip(study.rows, study.before, strict=True)
        earlier = [[row.label, *map(_cell, cells)] for row, cells in both if is_tuned(row)]
        parts.append(el("h3", "Before fine-tuning (stage one)"))
        parts.append(sheet(tables.HEAD, earlier, "Table 1 before fine-tuning", "figures"))
    parts.append(el("p", tables.note(study), class_="note"))
    for name, title in (
        ("md", "Markdown, with all tables"),
        ("csv", "CSV"),
        ("tex", "LaTeX (booktabs)"),
    ):
        parts.append(code(f"As {title}", texts[f"table1.{name}"]))
    return join(*parts)


def _cell(cell: Cell) -> Html:
    """Mean, deviation over seeds, and the interval below them."""
    text = formats.number(cell.mean.mean)
    text += "" if math.isnan(cell.sd) else f" ± {cell.sd:.3f}"
    if math.isnan(cell.mean.low):
        return join(text)
    return join(text, el("small", f"{cell.mean.low:.3f} to {cell.mean.high:.3f}"))


def how_sure(rows: Sequence[Row], differences: Sequence[Comparison]) -> Html | None:
    """Means with intervals; differences of pairs with theirs."""
    if not any(row.cases("validation") for row in rows):
        return None
    lead = (
        "The large mark is the mean over cases, the bar its 95 % interval, each small stroke a case: "
        "point at one for its name, and the case lights up in every plot of this page."
    )
    parts = [el("p", lead), grid(*((plots.means(rows, region), "") for region in REGIONS))]
    if not differences:
        return join(*parts)
    found = [[c for c in differences if c.region == r and c.paired.cases] for r in REGIONS]
    lead = (
        "The mean over cases of one row's Dice less the other's. A bar that crosses the middle line "
        "doesn't tell the two apart."
    )
    return join(
        *parts,
        el("h3", "Pairs on the same cases"),
        el("p", lead),
        grid(*((plots.differences(each), "") for each in found if each)),
        sheet(comparisons.HEAD, comparisons.lines(differences), "Differences", "figures"),
        el("p", comparisons.NOTE, class_="note"),
    )


def case_by_case(rows: Sequence[Row], volumes: Mapping[str, float]) -> Html | None:
    """Each case's figures: from row to row, against the tumour's volume, and in a table."""
    cases = sorted({case for row in rows for case in row.cases("validation")})
    if not cases:
        return None
    drawn = []
    if len(rows) > 1:
        text = "A line is a case: where it rises, the row on the right does better on it."
        drawn = [(plots.cases_across(rows, region), text) for region in REGIONS]
    if any(ml > 0 for ml in volumes.values()):
        text = "Tumour Dice against the tumour's true volume; a stroke joins the rows' marks of a case."
        drawn.append((plots.by_volume(rows, volumes), text))
    else:
        drawn.append((el("p", "No record gives tumour volumes (records of version 1 don't)."), ""))
    head: list[object] = ["Case", *(["tumour ml"] if volumes else [])]
    head += [f"{region}: {row.label}" for region in REGIONS for row in rows]
    scores = [by_case(row, region) for region in REGIONS for row in rows]
    body = [
        [
            case,
            *([f"{volumes[case]:.1f}" if case in volumes else "–"] if volumes else []),
            *(f"{s[case]:.3f}" if case in s else "–" for s in scores),
        ]
        for case in cases
    ]
    every = el(
        "details",
        el("summary", f"All {len(cases)} validation cases as a table (choose a heading to sort by it)"),
        sheet(head, body, "All validation cases", "figures sortable"),
    )
    return join(grid(*drawn), every)


def by_stratum(study: Study) -> Html | None:
    """Figures by tumour size and stage, where anything is known of them."""
    parts: list[Html] = []
    for divided, found in study.strata:
        parts.append(el("h3", divided.name))
        parts.append(sheet(strata.head(divided), strata.lines(found), divided.name, "figures strata"))
    return join(*parts) if parts else None


def fine_tuning(rows: Sequence[Row]) -> Html | None:
    """Each case before and after the second stage."""
    made = []
    for i, row in enumerate(rows):
        if not is_tuned(row) or not row.cases("validation"):
            continue
        changes = {region: tuning(row, region).difference for region in REGIONS}
        said = (f"{r} {plots.signed(d.mean)}{plots.span(d.low, d.high)}" for r, d in changes.items())
        made.append((plots.before_after(row, i, "tumour"), f"{row.label}. {'; '.join(said)}."))
    if not made:
        return None
    lead = (
        "Stage two sees tumour slices only, with the shallow layers frozen. A line is a validation case."
    )
    return join(el("p", lead), grid(*made))


def _has_curve(run: Any) -> bool:
    return any(getattr(run, "curves", {}).values())


def learning_curves(rows: Sequence[Row]) -> Html:
    """Losses of each row, validation Dice of all."""
    kept = {i: row for i, row in enumerate(rows) if any(_has_curve(run) for run in row.runs)}
    if not kept:
        return el("p", "None of these records holds learning curves (records of version 1 don't).")
    loss = [("train/loss", "dashed"), ("val/loss", "solid")]
    made = [
        (
            plots.learning({i: row}, loss, "loss", None),
            f"{row.label}: loss of training slices (dashed) and of validation cases (solid).",
        )
        for i, row in kept.items()
    ]
    made += [
        (
            plots.learning(kept, [(f"val/{region}_dice", "solid")], f"{region} Dice", (0.0, 1.0)),
            f"{region.capitalize()} Dice on validation cases after each epoch, on the prepared grid.",
        )
        for region in REGIONS
    ]
    missing = [row.label for i, row in enumerate(rows) if i not in kept]
    rest = el("p", f"Without learning curves: {', '.join(missing)}.", class_="note") if missing else None
    return join(grid(*made), rest)
