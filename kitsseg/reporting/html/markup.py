"""Build HTML and SVG elements with escaped text."""

from html import escape

VOID_ELEMENTS = {"br", "img", "input", "meta", "link"}


class Html(str):
    """Markup that is inserted without escaping."""

    __slots__ = ()


def el(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element: ``el("td", 3, class_="number")`` is ``<td class="number">3</td>``.

    Children are joined as by `join`. In the names of attributes, underscores become hyphens and a
    trailing one is dropped. None and False omit an attribute, True gives an attribute without a value.
    """
    parts = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(key)
        elif value is not None and value is not False:
            parts.append(f'{key}="{escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening if name in VOID_ELEMENTS else f"{opening}{join(*children)}</{name}>")


def join(*children: object) -> Html:
    """Return the children one after another: `Html` unchanged, None omitted, other values escaped."""
    return Html("".join(c if isinstance(c, Html) else escape(str(c)) for c in children if c is not None))
