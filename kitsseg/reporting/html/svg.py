"""Draw axes, ticks, markers and lines as SVG. The style sheet defines the colours of both themes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kitsseg.reporting.html.markup import Html, el, join

WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 18, 42
# Circle, square, triangle and diamond, as paths from their centre.
SHAPES = (
    "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "m-3.5-3.5h7v7h-7z",
    "m0-5l4.6 8.6h-9.2z",
    "m0-5l5 5l-5 5l-5-5z",
)
COLOURS = 6  # further rows reuse the colours with another shape


@dataclass(frozen=True)
class Frame:
    """The coordinate system of a plot: maps values to positions in a `WIDTH` x ``height`` box.

    ``x`` and ``y`` are the limits (lowest, highest) of the axes, ``right`` is the margin for labels.
    """

    x: tuple[float, float]
    y: tuple[float, float] = (0.0, 1.0)
    right: int = RIGHT
    height: int = HEIGHT

    def px(self, value: float) -> float:
        """Return the horizontal position of an x value."""
        low, high = self.x
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - self.right), 1)

    def py(self, value: float) -> float:
        """Return the vertical position of a y value."""
        low, high = self.y
        share = (value - low) / (high - low)
        return round(self.height - BOTTOM - share * (self.height - TOP - BOTTOM), 1)

    def axes(self, x_label: str, y_label: str, x_ticks: Sequence[tuple[float, str]]) -> Html:
        """Return axes, labels, grid lines and ticks ``(value, text)``; no y ticks without a label."""
        bottom, edge = self.height - BOTTOM, WIDTH - self.right
        parts = [line([(LEFT, bottom), (edge, bottom)], "axis")]
        for value in ticks(*self.y) if y_label else []:
            y = self.py(value)
            parts.append(line([(LEFT, y), (edge, y)], "grid"))
            parts.append(el("text", tick_text(value), x=LEFT - 6, y=y + 4, class_="tick end"))
        for value, text in x_ticks:
            x = self.px(value)
            parts.append(line([(x, bottom), (x, bottom + 4)], "axis"))
            parts.append(el("text", text, x=x, y=bottom + 17, class_="tick middle"))
        parts.append(el("text", x_label, x=(LEFT + edge) / 2, y=self.height - 6, class_="label middle"))
        turn = f"translate(12 {(TOP + bottom) / 2}) rotate(-90)"
        parts.append(el("text", y_label, transform=turn, class_="label middle"))
        return join(*parts)

    def draw(self, title: str, parts: Sequence[Html]) -> Html:
        """Return the SVG image; screen readers read ``title``."""
        box = f"0 0 {WIDTH} {self.height}"
        return el("svg", *parts, viewBox=box, role="img", aria_label=title, class_="plot")


def marker(x: float, y: float, row: int, tip: str, case: str | None = None, extra: str = "") -> Html:
    """Return a data point in colour and shape of the row with index ``row``; ``tip`` shows on hover."""
    path = f"M{x} {y}{SHAPES[(row + row // COLOURS) % len(SHAPES)]}"
    class_ = f"mark row{row % COLOURS} {extra}".strip()
    return el("path", el("title", tip), d=path, class_=class_, data_case=case)


def line(points: Sequence[tuple[float, float]], class_: str, *children: Html, **attributes: str) -> Html:
    """Return a polyline through positions."""
    text = " ".join(f"{x:g},{y:g}" for x, y in points)
    return el("polyline", *children, points=text, class_=class_, **attributes)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round values in [``low``, ``high``], with steps such as 0.1, 0.2, 0.5."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of 10 in [``low``, ``high``]; if too many, only the powers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    coarse = [10.0**p for p in powers if low <= 10.0**p <= high]
    return fine if len(fine) <= 8 else coarse


def tick_text(value: float) -> str:
    """Return the shortest text of a value with a typographic minus."""
    return f"{value:.6g}".replace("-", "\u2212")
