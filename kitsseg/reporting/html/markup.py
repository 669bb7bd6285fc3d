"""Build HTML and SVG elements with escaped text, tables, and links from numbers to their sources."""

import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from kitsseg.reporting.table_rows import Number


class Html(str):
    """Markup that is inserted without escaping."""


def el(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element: ``el("td", 3, class_="number")`` is ``<td class="number">3</td>``.

    Children are joined as by `join`. In the names of attributes, underscores become hyphens and a
    trailing one is dropped. None and False omit an attribute, True gives an attribute without a value.
    """
    opening = name
    for key, value in attributes.items():
        if value is not None and value is not False:
            opening += f" {key.rstrip('_').replace('_', '-')}"
            opening += "" if value is True else f'="{escape(str(value))}"'
    return Html(
        f"<{opening}>" if name in ("br", "img", "input") else f"<{opening}>{join(*children)}</{name}>"
    )


def join(*children: object) -> Html:
    """Return the children one after another: `Html` unchanged, None omitted, other values escaped."""
    return Html("".join(c if isinstance(c, Html) else escape(str(c)) for c in children if c is not None))


def anchor(*parts: object) -> str:
    """Return an element id that depends only on ``parts``."""
    return f"from-{hashlib.sha256(repr(parts).encode()).hexdigest()[:10]}"


def source_of(number: Number) -> str:
    """Return the id of the page element that lists the sources of a number."""
    if number.name.startswith(("case/", "volume/")):
        return anchor(number.cases[0])
    return anchor([row.name for row in number.rows], sorted(number.cases))


def link(number: Number) -> Html:
    """Return a number as a link to its source; plain text if it was computed from no case."""
    if not (number and number.cases):
        return join(str(number))
    return el(
        "a", str(number), href=f"#{source_of(number)}", title=f"cell={number.name}", class_="number"
    )


def plot_grid(*plots: tuple[Html, str]) -> Html:
    """Return plots side by side with their captions."""
    figures = (el("figure", svg, el("figcaption", text) if text else None) for svg, text in plots)
    return el("div", *figures, class_="plots")


def html_table(head: Sequence[str], body: Iterable[Sequence[object]], label: str, class_: str) -> Html:
    """Return a table that scrolls sideways on narrow screens; the first column names the rows."""
    names = el("thead", el("tr", *(el("th", h, scope="col") for h in head)))
    cells = ([link(c) if isinstance(c, Number) else c for c in row] for row in body)
    lines = (el("tr", el("th", row[0], scope="row"), *(el("td", c) for c in row[1:])) for row in cells)
    table = el("table", names, el("tbody", *lines), class_=class_)
    return el("div", table, class_="scroll", tabindex=0, role="region", aria_label=label)


def folded_text(title: str, text: str) -> Html:
    """Return preformatted text that is folded until opened."""
    inner = el("pre", text, tabindex=0, role="region", aria_label=title)
    return el("details", el("summary", title), inner)
