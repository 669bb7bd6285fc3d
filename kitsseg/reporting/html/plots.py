"""The plots of validation cases: which row is better, by how much, and on which cases."""

import math
from collections.abc import Mapping, Sequence

from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.html.cases import by_case, mean, tuning
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.html.svg import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    Frame,
    line,
    log_ticks,
    marker,
    number,
    plot,
    spread,
    ticks,
)
from kitsseg.reporting.table_rows import Row

LANE = 46  # height of a row in a plot of rows


def signed(value: float, digits: int = 3) -> str:
    """``+0.012`` or ``−0.012``, with a true minus."""
    return f"{value:+.{digits}f}".replace("-", "\u2212")


def short(text: str, length: int = 36) -> str:
    """``text``, its middle left out if it is too long for a plot."""
    if len(text) <= length:
        return text
    return f"{text[: length // 2 - 1]}…{text[-(length // 2) :]}"


def span(low: float, high: float) -> str:
    """An interval in words; nothing if there is none."""
    return "" if math.isnan(low) else f" (95 % interval {low:.3f} to {high:.3f})".replace("-", "\u2212")


def means(rows: Sequence[Row], region: str) -> Html:
    """Each row's mean Dice with its interval, above the cases that it is the mean of."""
    height = TOP + BOTTOM + LANE * len(rows)
    reach = dice_range(*(by_case(row, region) for row in rows))
    frame = Frame(reach, (0, len(rows)), height=height)
    marks = [(v, number(v)) for v in ticks(*reach)]
    parts: list[Html] = [frame.axes(f"{region} Dice, validation", "", marks, [])]
    for i, row in enumerate(rows):
        y = TOP + LANE * i + 30
        found = mean(row, region)
        for case, value in by_case(row, region).items():
            tip = f"{case}: {value:.3f} ({row.label})"
            mark = el("title", tip)
            x = frame.px(value)
            parts.append(
                el(
                    "line",
                    mark,
                    x1=x,
                    x2=x,
                    y1=y - 6,
                    y2=y + 6,
                    class_=f"tickmark row{i % COLOURS}",
                    data_case=case,
                )
            )
        parts.append(el("text", short(row.label), x=LEFT, y=y - 14, class_="name"))
        if math.isnan(found.mean):
            continue
        if not math.isnan(found.low):
            left, right = frame.px(max(reach[0], found.low)), frame.px(min(1, found.high))
            parts.append(el("line", x1=left, x2=right, y1=y, y2=y, class_=f"bar row{i % COLOURS}"))
        tip = f"{row.label}: {found.mean:.3f}{span(found.low, found.high)}"
        parts.append(marker(frame.px(found.mean), y, i, tip, extra="big"))
        parts.append(el("text", f"{found.mean:.3f}", x=WIDTH - 14, y=y - 14, class_="name end"))
    return plot(f"Mean {region} Dice of each row with its interval", *parts, height=height)


def differences(comparisons: Sequence[Comparison]) -> Html:
    """Differences of pairs of rows in one region with their intervals, and the line of no difference."""
    shown = [
        d
        for c in comparisons
        for d in (c.paired.difference.low, c.paired.difference.high, c.paired.difference.mean)
    ]
    reach = max([0.02, *(abs(v) for v in shown if not math.isnan(v))]) * 1.08
    height = TOP + BOTTOM + LANE * len(comparisons)
    frame = Frame((-reach, reach), (0, 1), height=height)
    region = comparisons[0].region
    marks = [(v, signed(v, 2) if v else "0") for v in ticks(-reach, reach, 6)]
    parts = [frame.axes(f"difference in {region} Dice", "", marks, [])]
    zero = frame.px(0)
    parts.append(el("line", x1=zero, x2=zero, y1=TOP, y2=height - BOTTOM, class_="zero"))
    for i, each in enumerate(comparisons):
        y, d = TOP + LANE * i + 30, each.paired.difference
        name = short(f"{each.first.label} less {each.second.label}", 40)
        parts.append(el("text", name, x=LEFT, y=y - 14, class_="name"))
        if not math.isnan(d.low):
            parts.append(
                el("line", x1=frame.px(d.low), x2=frame.px(d.high), y1=y, y2=y, class_="bar plain")
            )
        tip = f"{signed(d.mean)}{span(d.low, d.high)}, {each.paired.cases} cases"
        parts.append(el("circle", el("title", tip), cx=frame.px(d.mean), cy=y, r=5, class_="mark plain"))
        parts.append(el("text", signed(d.mean), x=WIDTH - 14, y=y - 14, class_="name end"))
    return plot(f"Differences in {region} Dice between rows", *parts, height=height)


def cases_across(rows: Sequence[Row], region: str) -> Html:
    """A line a case from row to row: who gains and who loses by another model."""
    scores = [by_case(row, region) for row in rows]
    frame = Frame((-0.35, len(rows) - 0.65), dice_range(*scores), right=24)
    names = [(float(i), short(row.label, max(8, 52 // len(rows)))) for i, row in enumerate(rows)]
    parts = [frame.axes("", f"{region} Dice", names)]
    for case in sorted(set().union(*scores)):
        points = [(frame.px(i), frame.py(s[case])) for i, s in enumerate(scores) if case in s]
        tip = f"{case}: " + ", ".join(
            f"{row.label} {s[case]:.3f}" for row, s in zip(rows, scores, strict=True) if case in s
        )
        parts.append(_thread(points, tip, case))
        for i, s in enumerate(scores):
            if case in s:
                parts.append(marker(frame.px(i), frame.py(s[case]), i, tip, case))
    return plot(f"{region} Dice of each validation case from row to row", *parts)


def before_after(row: Row, index: int, region: str) -> Html:
    """A line a case from before fine-tuning to after it."""
    earlier, later = by_case(row, region, after=False), by_case(row, region)
    frame = Frame((-0.35, 1.35), dice_range(earlier, later), right=24)
    parts = [frame.axes("", f"{region} Dice", [(0, "before"), (1, "after fine-tuning")])]
    for case in sorted(set(earlier) & set(later)):
        points = [(frame.px(0), frame.py(earlier[case])), (frame.px(1), frame.py(later[case]))]
        gain = signed(later[case] - earlier[case])
        tip = f"{case}: {earlier[case]:.3f} before, {later[case]:.3f} after ({gain})"
        parts.append(_thread(points, tip, case))
        parts += [marker(x, y, index, tip, case) for x, y in points]
    d = tuning(row, region).difference
    title = f"{row.label}: fine-tuning changed {region} Dice by {signed(d.mean)}{span(d.low, d.high)}"
    return plot(title, *parts)


def by_volume(rows: Sequence[Row], volumes: Mapping[str, float]) -> Html:
    """Tumour Dice against the tumour's true volume."""
    known = {case: ml for case, ml in volumes.items() if ml > 0}
    low, high = min(known.values()), max(known.values())
    low, high = low / 1.3, high * 1.3
    scores = [by_case(row, "tumour") for row in rows]
    frame = Frame((low, high), dice_range(*scores), log_x=True)
    marks = [(v, number(v)) for v in log_ticks(low, high)]
    parts = [frame.axes("true tumour volume in ml (logarithmic)", "tumour Dice", marks)]
    for case, ml in known.items():
        if len(found := [frame.py(s[case]) for s in scores if case in s]) > 1:
            ends = [(frame.px(ml), min(found)), (frame.px(ml), max(found))]
            parts.append(line(ends, "thread", data_case=case))
    for i, (row, s) in enumerate(zip(rows, scores, strict=True)):
        for case, value in s.items():
            if case in known:
                tip = f"{case}: {known[case]:.1f} ml, {value:.3f} ({row.label})"
                parts.append(marker(frame.px(known[case]), frame.py(value), i, tip, case))
    return plot("Tumour Dice of each validation case against its tumour's volume", *parts)


def learning(
    rows: Mapping[int, Row],
    names: Sequence[tuple[str, str]],
    y_label: str,
    limit: tuple[float, float] | None,
) -> Html:
    """Curves over the epochs of both stages; a line a run.

    Args:
        rows: by their numbers in the page, which give their colours.
        names: what of a curve is shown, and the class of its line.
        limit: of the y axis; None goes by the values.
    """
    drawn: list[tuple[int, str, list[tuple[float, float]]]] = []
    switches = set()
    for i, row in rows.items():
        for run in row.runs:
            curves = getattr(run, "curves", {})
            first = curves.get("train", [])
            second = curves.get("finetune", [])
            if second:
                switches.add(len(first))
            for name, style in names:
                epochs = [
                    (e["epoch"] + 1 + shift, e.get(name))
                    for part, shift in ((first, 0), (second, len(first)))
                    for e in part
                ]
                points = [(float(n), float(v)) for n, v in epochs if v is not None]
                if points:
                    drawn.append((i, style, points))
    values = [v for *_, points in drawn for _, v in points]
    last = max((n for *_, points in drawn for n, _ in points), default=1.0)
    low, high = limit if limit is not None else (min([0.0, *values]), max(values, default=1.0) * 1.05)
    one = len(rows) == 1
    frame = Frame((1, max(2.0, last)), (low, high), right=84 if one else 108)
    marks = [(v, number(v)) for v in ticks(1, max(2.0, last), 6) if v == int(v)]
    parts: list[Html] = [frame.axes("epoch", y_label, marks)]
    for switch in sorted(switches):
        x = frame.px(min(last, switch + 0.5))
        parts.append(el("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_="switch"))
        parts.append(el("text", "fine-tuning →", x=x, y=TOP - 6, class_="tick end"))
    ends: dict[str, tuple[float, int]] = {}
    for i, style, points in drawn:
        row = rows[i]
        places = [(frame.px(n), frame.py(min(high, max(low, v)))) for n, v in points]
        parts.append(line(places, f"curve {style} row{i % COLOURS}"))
        what = {"dashed": "train", "solid": "validation"}[style]
        ends.setdefault(what if one else short(row.label, 14), (places[-1][1], i))
    apart = spread([y for y, _ in ends.values()], 14, TOP, HEIGHT - BOTTOM)
    for (text, (_, i)), y in zip(ends.items(), apart, strict=True):
        parts.append(
            el(
                "text",
                text,
                x=WIDTH - frame.right + 6,
                y=y + 4,
                class_=f"name row{i % COLOURS}",
            )
        )
    whose = next(iter(rows.values())).label if one else "all rows"
    return plot(f"{y_label} by epoch, {whose}", *parts)


def _thread(points: list[tuple[float, float]], tip: str, case: str) -> Html:
    """A case's line, and a wide invisible one that is easy to point at."""
    text = " ".join(f"{x:g},{y:g}" for x, y in points)
    seen = el("polyline", points=text, class_="thread", data_case=case)
    return join(seen, el("polyline", el("title", tip), points=text, class_="touch", data_case=case))


def dice_range(*scores: Mapping[str, float]) -> tuple[float, float]:
    """An axis that ends at 1 and begins at a multiple of 0.2 below the lowest score."""
    lowest = min((value for s in scores for value in s.values()), default=0.0)
    return min(0.8, math.floor(lowest * 5) / 5), 1.0
