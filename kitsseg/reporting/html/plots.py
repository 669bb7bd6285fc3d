"""Plots of validation cases: mean scores, differences between rows, and scores of single cases."""

import math
from collections.abc import Mapping, Sequence

from kitsseg.evaluation.stats import Interval
from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.formats import title, words
from kitsseg.reporting.html import svg
from kitsseg.reporting.html.markup import Html, el
from kitsseg.reporting.html.svg import BOTTOM, COLOURS, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Frame
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.table_rows import Row

LANE = 46  # height per row in plots with one lane per row
# A column of `plot_lines`: its name, the index of its row, and the Dice by case.
Column = tuple[str, int, Mapping[str, float]]


def signed(value: float, digits: int = 3) -> str:
    """Return a number such as ``+0.012`` or ``−0.012`` with a typographic minus."""
    return f"{value:+.{digits}f}".replace("-", "\u2212")


def interval_text(mean: Interval) -> str:
    """Return `` (95 % interval low to high)``, or an empty text if there is no interval."""
    if math.isnan(mean.low):
        return ""
    return f" (95 % interval {mean.low:.3f} to {mean.high:.3f})".replace("-", "\u2212")


def abbreviate(text: str, length: int = 36) -> str:
    """Return ``text`` with its middle replaced by … if it is longer than ``length``."""
    half = length // 2
    return text if len(text) <= length else f"{text[: half - 1]}…{text[-half:]}"


def plot_means(rows: Sequence[Row], region: str) -> Html:
    """Plot each row's mean Dice with its interval and the Dice of each case."""
    scores = [row.validation_dice(region) for row in rows]
    limits = dice_limits(scores)
    frame = Frame(limits, height=TOP + BOTTOM + LANE * len(rows))
    labels = [(v, svg.tick_text(v)) for v in svg.ticks(*limits)]
    parts = [frame.axes(f"{words(region)} Dice, validation", "", labels)]
    for i, row in enumerate(rows):
        y, colour = TOP + LANE * i + 30, f"row{i % COLOURS}"
        for case, value in scores[i].items():
            x, tip = frame.px(value), el("title", f"{case}: {value:.3f} ({row.label})")
            parts.append(svg.line([(x, y - 6), (x, y + 6)], f"tickmark {colour}", tip, data_case=case))
        mean = row.scores("validation", region).cell().mean
        text = f"{row.label}: {mean.mean:.3f}{interval_text(mean)}"
        mark = svg.marker(frame.px(mean.mean), y, i, text, extra="big")
        parts += lane(frame, y, abbreviate(row.label), mean, f"{mean.mean:.3f}", mark, colour)
    return frame.draw(f"Mean {words(region)} Dice of each row with its interval", parts)


def plot_differences(comparisons: Sequence[Comparison]) -> Html:
    """Plot the differences between rows in one region with their intervals."""
    region = words(comparisons[0].region)
    ends = [v for c in comparisons for d in [c.paired.difference] for v in (d.low, d.high, d.mean)]
    limit = max([0.02, *(abs(v) for v in ends if not math.isnan(v))]) * 1.08
    frame = Frame((-limit, limit), height=TOP + BOTTOM + LANE * len(comparisons))
    labels = [(v, signed(v, 2) if v else "0") for v in svg.ticks(-limit, limit, 6)]
    parts = [frame.axes(f"difference in {region} Dice", "", labels)]
    parts.append(svg.line([(frame.px(0), TOP), (frame.px(0), frame.height - BOTTOM)], "zero"))
    for i, c in enumerate(comparisons):
        y, d = TOP + LANE * i + 30, c.paired.difference
        tip = el("title", f"{signed(d.mean)}{interval_text(d)}, {c.paired.cases} cases")
        mark = el("circle", tip, cx=frame.px(d.mean), cy=y, r=5, class_="mark plain")
        parts += lane(frame, y, abbreviate(c.label, 40), d, signed(d.mean), mark, "plain")
    return frame.draw(f"Differences in {region} Dice between rows", parts)


def lane(
    frame: Frame, y: float, name: str, mean: Interval, text: str, mark: Html, colour: str
) -> list[Html]:
    """Return name, interval, marker and ``text`` of a mean; without a mean only the name."""
    parts = [el("text", name, x=LEFT, y=y - 14, class_="name")]
    if not math.isnan(mean.low):
        left, right = frame.px(max(frame.x[0], mean.low)), frame.px(min(frame.x[1], mean.high))
        parts.append(svg.line([(left, y), (right, y)], f"bar {colour}"))
    if not math.isnan(mean.mean):
        parts += [mark, el("text", text, x=WIDTH - 14, y=y - 14, class_="name end")]
    return parts


def plot_lines(text: str, region: str, columns: Sequence[Column]) -> Html:
    """Plot the Dice of each case in every column, with one line per case."""
    frame = Frame((-0.35, len(columns) - 0.65), dice_limits([s for *_, s in columns]), right=24)
    length = max(8, 52 // len(columns))
    names = [(i, abbreviate(name, length)) for i, (name, *_) in enumerate(columns)]
    parts = [frame.axes("", f"{words(region)} Dice", names)]
    for case in sorted({case for *_, scores in columns for case in scores}):
        found = [(i, *column) for i, column in enumerate(columns) if case in column[-1]]
        tip = f"{case}: {', '.join(f'{name} {scores[case]:.3f}' for _, name, _, scores in found)}"
        points = [(frame.px(i), frame.py(scores[case])) for i, *_, scores in found]
        parts.append(svg.line(points, "thread", data_case=case))
        # A wide invisible line is easy to hover over.
        parts.append(svg.line(points, "touch", el("title", tip), data_case=case))
        markers = zip(points, found, strict=True)
        parts += [svg.marker(x, y, row, tip, case) for (x, y), (_, _, row, _) in markers]
    return frame.draw(text, parts)


def plot_by_volume(rows: Sequence[Row], region: str, volumes_ml: Mapping[str, float]) -> Html:
    """Plot the Dice of a region against its true volume on a logarithmic axis."""
    name = words(region)
    positive = {case: ml for case, ml in volumes_ml.items() if ml > 0}
    low, high = min(positive.values()) / 1.3, max(positive.values()) * 1.3
    scores = [row.validation_dice(region) for row in rows]
    frame = Frame((math.log10(low), math.log10(high)), dice_limits(scores))
    labels = [(math.log10(v), svg.tick_text(v)) for v in svg.log_ticks(low, high)]
    parts = [frame.axes(f"true {name} volume in ml (logarithmic)", f"{name} Dice", labels)]
    xs = {case: frame.px(math.log10(ml)) for case, ml in positive.items()}
    for case, x in xs.items():
        if len(ys := [frame.py(s[case]) for s in scores if case in s]) > 1:
            parts.append(svg.line([(x, min(ys)), (x, max(ys))], "thread", data_case=case))
    for i, row in enumerate(rows):
        for case in (case for case in scores[i] if case in xs):
            tip = f"{case}: {positive[case]:.1f} ml, {scores[i][case]:.3f} ({row.label})"
            parts.append(svg.marker(xs[case], frame.py(scores[i][case]), i, tip, case))
    return frame.draw(f"{title(region)} Dice of each validation case against its {name} volume", parts)


def plot_learning(
    rows: Mapping[int, Row], metrics: Mapping[str, str], y_label: str, highest: float | None = None
) -> Html:
    """Plot metrics over the epochs of both stages, with one line per run and metric.

    The keys of ``rows`` are their indices on the page, which set their colours. ``metrics`` maps
    each metric to a style, ``solid`` or ``dashed``. The y axis ends at ``highest`` or fits the data.
    """
    curves = [
        (i, style, points)
        for i, row in rows.items()
        for run in row.runs
        for metric, style in metrics.items()
        if (points := _curve(run, metric))
    ]
    values = [value for *_, points in curves for _, value in points]
    last = max([2, *(epoch for *_, points in curves for epoch, _ in points)])
    high = max([0.001, *values]) * 1.05 if highest is None else highest
    right = RIGHT if len(rows) == 1 else 108
    frame = Frame((1, last), (min([0.0, *values]), high), right)
    labels = [(v, svg.tick_text(v)) for v in svg.ticks(1, last, 6) if v == int(v)]
    parts = [frame.axes("epoch", y_label, labels)]
    tuned = [run for row in rows.values() for run in row.runs if run.curves.get("finetune")]
    for start in sorted({len(run.curves.get("train", [])) for run in tuned}):
        x = frame.px(min(last, start + 0.5))
        parts.append(svg.line([(x, TOP), (x, HEIGHT - BOTTOM)], "switch"))
        parts.append(el("text", "fine-tuning →", x=x, y=TOP - 6, class_="tick end"))
    for i, style, points in curves:
        places = [(frame.px(epoch), frame.py(value)) for epoch, value in points]
        parts.append(svg.line(places, f"curve {style} row{i % COLOURS}", el("title", rows[i].label)))
    for line, (i, row) in enumerate(rows.items() if len(rows) > 1 else ()):
        place = {"x": WIDTH - right + 6, "y": TOP + 10 + 16 * line}
        parts.append(el("text", abbreviate(row.label, 14), **place, class_=f"name row{i % COLOURS}"))
    whose = ", ".join(row.label for row in rows.values())
    return frame.draw(f"{y_label} by epoch, {whose}", parts)


def _curve(run: Record, metric: str) -> list[tuple[int, float]]:
    """Return (epoch from 1, value) of both stages; the epochs of stage two continue stage one."""
    first, second = run.curves.get("train", []), run.curves.get("finetune", [])
    epochs = [(e["epoch"] + 1, e) for e in first] + [(e["epoch"] + 1 + len(first), e) for e in second]
    return [(n, e[metric]) for n, e in epochs if e.get(metric) is not None]


def dice_limits(scores: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Return axis limits from a multiple of 0.2 below the lowest score to 1."""
    lowest = min((value for s in scores for value in s.values()), default=0.0)
    return min(0.8, math.floor(lowest * 5) / 5), 1.0
