"""A plot's frame as SVG: scales, ticks, axes. Colours are the style sheet's, so themes apply."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kitsseg.reporting.html.markup import Html, el, join

WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 18, 42
SHAPES = ("circle", "square", "triangle", "diamond")
COLOURS = 6  # rows 7 and on begin with the first colour again, in another shape


@dataclass(frozen=True)
class Frame:
    """The plane of a plot: from values to places in a `WIDTH` x `HEIGHT` box.

    Attributes:
        x, y: (lowest, highest) value.
        log_x: whether x is on a logarithmic scale.
        right: how much room is left on the right, for labels.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    log_x: bool = False
    right: int = RIGHT
    height: int = HEIGHT

    def px(self, value: float) -> float:
        low, high = self.x
        if self.log_x:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - self.right), 1)

    def py(self, value: float) -> float:
        low, high = self.y
        return round(
            self.height - BOTTOM - (value - low) / (high - low) * (self.height - TOP - BOTTOM), 1
        )

    def axes(
        self,
        x_label: str,
        y_label: str,
        x_ticks: Sequence[tuple[float, str]],
        y_ticks: Sequence[tuple[float, str]] | None = None,
    ) -> Html:
        """Grid lines, ticks with their texts, and what the axes are."""
        bottom = self.height - BOTTOM
        edge = WIDTH - self.right
        y_ticks = [(v, number(v)) for v in ticks(*self.y)] if y_ticks is None else y_ticks
        parts: list[Html] = []
        for value, text in y_ticks:
            y = self.py(value)
            parts.append(el("line", x1=LEFT, x2=edge, y1=y, y2=y, class_="grid"))
            parts.append(el("text", text, x=LEFT - 6, y=y + 4, class_="tick end"))
        for value, text in x_ticks:
            x = self.px(value)
            parts.append(el("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"))
            parts.append(el("text", text, x=x, y=bottom + 17, class_="tick middle"))
        parts.append(el("line", x1=LEFT, x2=edge, y1=bottom, y2=bottom, class_="axis"))
        middle = (LEFT + edge) / 2
        parts.append(el("text", x_label, x=middle, y=self.height - 6, class_="label middle"))
        turn = f"translate(12 {(TOP + bottom) / 2}) rotate(-90)"
        parts.append(el("text", y_label, transform=turn, class_="label middle"))
        return join(*parts)


def plot(title: str, *parts: object, height: int = HEIGHT) -> Html:
    """The drawing, with ``title`` for those who don't see it."""
    return el(
        "svg", *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=title, class_="plot",
        xmlns="http://www.w3.org/2000/svg",
    )  # fmt: skip


def marker(x: float, y: float, row: int, tip: str, case: str | None = None, extra: str = "") -> Html:
    """A point of the ``row``-th row, in its colour and shape; ``tip`` shows under the pointer."""
    shape = SHAPES[(row + row // COLOURS) % len(SHAPES)]
    inner = el("title", tip)
    given = {"class_": f"mark row{row % COLOURS} {extra}".strip(), "data_case": case}
    if shape == "circle":
        return el("circle", inner, cx=x, cy=y, r=4, **given)
    if shape == "square":
        return el("rect", inner, x=round(x - 3.5, 1), y=round(y - 3.5, 1), width=7, height=7, **given)
    corners = {
        "triangle": ((0, -5), (4.6, 3.6), (-4.6, 3.6)),
        "diamond": ((0, -5), (5, 0), (0, 5), (-5, 0)),
    }
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners[shape])
    return el("polygon", inner, points=points, **given)


def line(points: Sequence[tuple[float, float]], class_: str, **attributes: object) -> Html:
    """A line through places."""
    text = " ".join(f"{x:g},{y:g}" for x, y in points)
    return el("polyline", points=text, class_=class_, **attributes)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values within [``low``, ``high``], 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten within [``low``, ``high``]; of many only the powers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    coarse = [10.0**p for p in powers if low <= 10.0**p <= high]
    return fine if len(fine) <= 8 else coarse


def number(value: float) -> str:
    """A tick's text: as few digits as it takes, a true minus."""
    return f"{value:.6g}".replace("-", "\u2212")


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """``places`` moved apart so that labels there are ``gap`` from each other, within the limits."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    out = list(places)
    last = low - gap
    for i in order:
        out[i] = last = max(out[i], last + gap)
    limit = high + gap
    for i in reversed(order):
        out[i] = limit = min(out[i], limit - gap)
    return out
