"""Plots of validation cases: mean scores, differences between rows, and scores of single cases."""

import math
from collections.abc import Mapping, Sequence

from kitsseg.evaluation.stats import Interval
from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.html import svg
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.html.row_dice import dice_by_case, fine_tuning_change, mean_dice
from kitsseg.reporting.html.svg import BOTTOM, COLOURS, HEIGHT, LEFT, TOP, WIDTH, Frame
from kitsseg.reporting.table_rows import Row

LANE = 46  # height per row in plots with one lane per row
LINE_NAMES = {"dashed": "train", "solid": "validation"}


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
    if len(text) <= length:
        return text
    return f"{text[: length // 2 - 1]}…{text[-(length // 2) :]}"


def plot_means(rows: Sequence[Row], region: str) -> Html:
    """Plot each row's mean Dice with its interval and the Dice of each case."""
    height = TOP + BOTTOM + LANE * len(rows)
    limits = dice_limits(*(dice_by_case(row, region) for row in rows))
    frame = Frame(limits, (0, len(rows)), height=height)
    parts = [
        frame.axes(
            f"{region} Dice, validation", "", [(v, svg.tick_text(v)) for v in svg.ticks(*limits)], []
        )
    ]
    for i, row in enumerate(rows):
        y = TOP + LANE * i + 30
        colour = f"row{i % COLOURS}"
        for case, value in dice_by_case(row, region).items():
            x = frame.px(value)
            tip = el("title", f"{case}: {value:.3f} ({row.label})")
            stroke = {"x1": x, "x2": x, "y1": y - 6, "y2": y + 6}
            parts.append(el("line", tip, **stroke, class_=f"tickmark {colour}", data_case=case))
        parts.append(el("text", abbreviate(row.label), x=LEFT, y=y - 14, class_="name"))
        mean = mean_dice(row, region)
        if math.isnan(mean.mean):
            continue
        if not math.isnan(mean.low):
            left, right = frame.px(max(limits[0], mean.low)), frame.px(min(1, mean.high))
            parts.append(el("line", x1=left, x2=right, y1=y, y2=y, class_=f"bar {colour}"))
        label = f"{row.label}: {mean.mean:.3f}{interval_text(mean)}"
        parts.append(svg.marker(frame.px(mean.mean), y, i, label, extra="big"))
        parts.append(el("text", f"{mean.mean:.3f}", x=WIDTH - 14, y=y - 14, class_="name end"))
    return svg.plot(f"Mean {region} Dice of each row with its interval", *parts, height=height)


def plot_differences(comparisons: Sequence[Comparison]) -> Html:
    """Plot the differences between rows in one region with their intervals."""
    region = comparisons[0].region
    ends = [v for c in comparisons for d in [c.paired.difference] for v in (d.low, d.high, d.mean)]
    limit = max([0.02, *(abs(v) for v in ends if not math.isnan(v))]) * 1.08
    height = TOP + BOTTOM + LANE * len(comparisons)
    frame = Frame((-limit, limit), (0, 1), height=height)
    labels = [(v, signed(v, 2) if v else "0") for v in svg.ticks(-limit, limit, 6)]
    parts = [frame.axes(f"difference in {region} Dice", "", labels, [])]
    zero = frame.px(0)
    parts.append(el("line", x1=zero, x2=zero, y1=TOP, y2=height - BOTTOM, class_="zero"))
    for i, c in enumerate(comparisons):
        y, d = TOP + LANE * i + 30, c.paired.difference
        x = frame.px(d.mean)
        parts.append(el("text", abbreviate(c.label, 40), x=LEFT, y=y - 14, class_="name"))
        if not math.isnan(d.low):
            left, right = frame.px(d.low), frame.px(d.high)
            parts.append(el("line", x1=left, x2=right, y1=y, y2=y, class_="bar plain"))
        tip = el("title", f"{signed(d.mean)}{interval_text(d)}, {c.paired.cases} cases")
        parts.append(el("circle", tip, cx=x, cy=y, r=5, class_="mark plain"))
        parts.append(el("text", signed(d.mean), x=WIDTH - 14, y=y - 14, class_="name end"))
    return svg.plot(f"Differences in {region} Dice between rows", *parts, height=height)


def plot_cases_across(rows: Sequence[Row], region: str) -> Html:
    """Plot the Dice of each case in every row, with one line per case."""
    scores = [dice_by_case(row, region) for row in rows]
    frame = Frame((-0.35, len(rows) - 0.65), dice_limits(*scores), right=24)
    names = [(float(i), abbreviate(row.label, max(8, 52 // len(rows)))) for i, row in enumerate(rows)]
    parts = [frame.axes("", f"{region} Dice", names)]
    for case in sorted(set().union(*scores)):
        values = {i: s[case] for i, s in enumerate(scores) if case in s}
        points = [(frame.px(i), frame.py(value)) for i, value in values.items()]
        tip = f"{case}: " + ", ".join(f"{rows[i].label} {value:.3f}" for i, value in values.items())
        parts.append(_case_line(points, tip, case))
        parts += [svg.marker(x, y, i, tip, case) for i, (x, y) in zip(values, points, strict=True)]
    return svg.plot(f"{region} Dice of each validation case in every row", *parts)


def plot_fine_tuning(row: Row, index: int, region: str) -> Html:
    """Plot the Dice of each case before and after fine-tuning, with one line per case."""
    before, after = dice_by_case(row, region, after=False), dice_by_case(row, region)
    frame = Frame((-0.35, 1.35), dice_limits(before, after), right=24)
    parts = [frame.axes("", f"{region} Dice", [(0, "before"), (1, "after fine-tuning")])]
    for case in sorted(set(before) & set(after)):
        points = [(frame.px(0), frame.py(before[case])), (frame.px(1), frame.py(after[case]))]
        gain = signed(after[case] - before[case])
        tip = f"{case}: {before[case]:.3f} before, {after[case]:.3f} after ({gain})"
        parts.append(_case_line(points, tip, case))
        parts += [svg.marker(x, y, index, tip, case) for x, y in points]
    d = fine_tuning_change(row, region).difference
    change = f"{signed(d.mean)}{interval_text(d)}"
    return svg.plot(f"{row.label}: fine-tuning changed {region} Dice by {change}", *parts)


def plot_by_volume(rows: Sequence[Row], volumes_ml: Mapping[str, float]) -> Html:
    """Plot tumour Dice against true tumour volume on a logarithmic axis."""
    positive = {case: ml for case, ml in volumes_ml.items() if ml > 0}
    low, high = min(positive.values()) / 1.3, max(positive.values()) * 1.3
    scores = [dice_by_case(row, "tumour") for row in rows]
    frame = Frame((low, high), dice_limits(*scores), log_x=True)
    labels = [(v, svg.tick_text(v)) for v in svg.log_ticks(low, high)]
    parts = [frame.axes("true tumour volume in ml (logarithmic)", "tumour Dice", labels)]
    for case, ml in positive.items():
        if len(ys := [frame.py(s[case]) for s in scores if case in s]) > 1:
            x = frame.px(ml)
            parts.append(svg.line([(x, min(ys)), (x, max(ys))], "thread", data_case=case))
    for i, (row, s) in enumerate(zip(rows, scores, strict=True)):
        for case, value in s.items():
            if case in positive:
                tip = f"{case}: {positive[case]:.1f} ml, {value:.3f} ({row.label})"
                parts.append(svg.marker(frame.px(positive[case]), frame.py(value), i, tip, case))
    return svg.plot("Tumour Dice of each validation case against its tumour volume", *parts)


def plot_learning(
    rows: Mapping[int, Row],
    metrics: Sequence[tuple[str, str]],
    y_label: str,
    y_limits: tuple[float, float] | None,
) -> Html:
    """Plot metrics over the epochs of both stages, with one line per run and metric.

    Args:
        rows: by their index on the page, which determines their colours.
        metrics: pairs of a metric and its line style, ``solid`` or ``dashed``.
        y_label: label of the y axis.
        y_limits: limits of the y axis; None fits them to the values.
    """
    curves = [
        (i, style, points)
        for i, row in rows.items()
        for run in row.runs
        for metric, style in metrics
        if (points := _curve(run.curves, metric))
    ]
    values = [value for *_, points in curves for _, value in points]
    last = max((epoch for *_, points in curves for epoch, _ in points), default=1.0)
    low, high = (min([0.0, *values]), max(values, default=1.0) * 1.05) if y_limits is None else y_limits
    single = len(rows) == 1
    frame = Frame((1, max(2.0, last)), (low, high), right=84 if single else 108)
    labels = [(v, svg.tick_text(v)) for v in svg.ticks(1, max(2.0, last), 6) if v == int(v)]
    parts = [frame.axes("epoch", y_label, labels)]
    starts = {
        len(r.curves.get("train", []))
        for row in rows.values()
        for r in row.runs
        if r.curves.get("finetune")
    }
    for start in sorted(starts):
        x = frame.px(min(last, start + 0.5))
        parts.append(el("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_="switch"))
        parts.append(el("text", "fine-tuning →", x=x, y=TOP - 6, class_="tick end"))
    ends: dict[str, tuple[float, int]] = {}  # label: height of the line's end and row
    for i, style, points in curves:
        places = [(frame.px(n), frame.py(min(high, max(low, v)))) for n, v in points]
        parts.append(svg.line(places, f"curve {style} row{i % COLOURS}"))
        ends.setdefault(
            LINE_NAMES[style] if single else abbreviate(rows[i].label, 14), (places[-1][1], i)
        )
    heights = svg.spread_labels([y for y, _ in ends.values()], 14, TOP, HEIGHT - BOTTOM)
    for (text, (_, i)), y in zip(ends.items(), heights, strict=True):
        colour = f"name row{i % COLOURS}"
        parts.append(el("text", text, x=WIDTH - frame.right + 6, y=y + 4, class_=colour))
    whose = next(iter(rows.values())).label if single else "all rows"
    return svg.plot(f"{y_label} by epoch, {whose}", *parts)


def _curve(
    curves: Mapping[str, Sequence[Mapping[str, float | None]]], metric: str
) -> list[tuple[float, float]]:
    """Return (epoch from 1, value) of both stages; the epochs of stage two continue the first's."""
    first, second = curves.get("train", []), curves.get("finetune", [])
    epochs = [*((0, e) for e in first), *((len(first), e) for e in second)]
    return [
        (float(e["epoch"] or 0) + 1 + offset, float(value))
        for offset, e in epochs
        if (value := e.get(metric)) is not None
    ]


def _case_line(points: list[tuple[float, float]], tip: str, case: str) -> Html:
    """Return the line of a case, and a wide invisible line that is easy to hover over."""
    touch = svg.line(points, "touch", el("title", tip), data_case=case)
    return join(svg.line(points, "thread", data_case=case), touch)


def dice_limits(*scores: Mapping[str, float]) -> tuple[float, float]:
    """Return axis limits from a multiple of 0.2 below the lowest score to 1."""
    lowest = min((value for s in scores for value in s.values()), default=0.0)
    return min(0.8, math.floor(lowest * 5) / 5), 1.0
