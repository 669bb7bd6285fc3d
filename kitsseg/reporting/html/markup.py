"""Build HTML and SVG elements with escaped text."""

from html import escape


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
