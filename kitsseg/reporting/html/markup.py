"""HTML and SVG elements from values: text is escaped unless it was made here."""

from html import escape


class Html(str):
    """Markup that is safe to put into a page as it is."""

    __slots__ = ()


def el(name: str, /, *children: object, **attributes: object) -> Html:
    """An element: ``el("td", 3, class_="number")`` is ``<td class="number">3</td>``.

    Args:
        name: of the element.
        children: `Html` goes in as it is, None is left out, anything else is escaped text.
        attributes: by name, underscores for hyphens (a last one is dropped, for Python's own words);
            None and False leave one out, True gives the bare name.
    """
    parts = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(key)
        elif value is not None and value is not False:
            parts.append(f'{key}="{escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening if name in _VOID else f"{opening}{join(*children)}</{name}>")


def join(*children: object) -> Html:
    """Children one after the other, without an element around them."""
    return Html("".join(c if isinstance(c, Html) else escape(str(c)) for c in children if c is not None))


_VOID = {"br", "img", "input", "meta", "link"}
