"""The page of `kitsseg.plan`: power against the number of cases."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from kitsseg.evaluation.power import Effects, smallest
from kitsseg.reporting.formats import words
from kitsseg.reporting.html import svg
from kitsseg.reporting.html.markup import Html, el, html_table, join, plot_grid
from kitsseg.reporting.pilot import Pilot

STYLE = Path(__file__).parent / "style.css"


def explain(found: Pilot, region: str, effects: Effects, gain: float) -> list[str]:
    """Return what the pilot is and how its differences vary."""
    first, second = found.models
    seeds, cases = len(found.differences), len(effects.cases)
    return [
        f"Pilot: {second} minus {first}, {words(region)}, {cases} cases and {seeds} seeds.",
        f"Standard deviation of the difference: {effects.case_sd:.3f} between cases, "
        f"{effects.seed_sd:.3f} between seeds, {effects.rest_sd:.3f} otherwise.",
        f"Power: probability of finding a true mean difference of {gain:+g}: the 95 % interval excludes "
        "0, and p is below 0.05 for one comparison. A table with several comparisons corrects p, which "
        "needs more cases.",
    ]


def answers(
    found: Pilot, powers: Mapping[int, Sequence[float]], cases: Sequence[int], aim: float
) -> list[str]:
    """Return, for each number of seeds, how many cases are needed and how long the runs take."""
    lines = []
    for seeds, values in powers.items():
        number = smallest(values, cases, aim)
        needed = f"more than {cases[-1]}" if number is None else f"{number}"
        text = f"{seeds} seeds: {needed} validation cases for a power of {aim:g}"
        if found.hours is not None:
            total, where = 2 * seeds * found.hours, f" on {found.hardware}" if found.hardware else ""
            text += f"; {total:.1f} hours{where} if runs take as long as in the pilot"
        lines.append(f"{text}.")
    return lines


def render(
    lines: Sequence[str],
    head: Sequence[str],
    body: Sequence[Sequence[str]],
    powers: Mapping[int, Sequence[float]],
    cases: Sequence[int],
    aim: float,
) -> str:
    """Return the page with the text, the curves and the table."""
    content = join(
        el("h1", "How many cases and seeds?"),
        *(el("p", line) for line in lines),
        plot_grid((plot(powers, cases, aim), "")),
        html_table(head, body, "Power by number of cases and seeds", "figures"),
    )
    style = STYLE.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Plan</title>'
        f"<style>{style}</style></head><body><main>{content}</main></body></html>\n"
    )


def plot(powers: Mapping[int, Sequence[float]], cases: Sequence[int], aim: float) -> Html:
    """Return the curves of power against the number of cases, on a logarithmic axis."""
    places = [math.log10(number) for number in cases]
    margin = 0.05 if len(cases) > 1 else 0.5
    frame = svg.Frame((places[0] - margin, places[-1] + margin), (0, 1), right=80)
    labels = [(place, str(number)) for place, number in zip(places, cases, strict=True)]
    parts = [frame.axes("validation cases (logarithmic)", "power", labels)]
    ends = [
        (frame.px(places[0] - margin), frame.py(aim)),
        (frame.px(places[-1] + margin), frame.py(aim)),
    ]
    parts.append(svg.line(ends, "switch"))
    for row, (seeds, values) in enumerate(powers.items()):
        points = [(frame.px(x), frame.py(y)) for x, y in zip(places, values, strict=True)]
        name = f"{seeds} seeds"
        parts.append(svg.line(points, f"curve solid row{row % svg.COLOURS}", el("title", name)))
        tips = (f"{n} cases, {name}: {value:.2f}" for n, value in zip(cases, values, strict=True))
        parts += [svg.marker(x, y, row, tip) for (x, y), tip in zip(points, tips, strict=True)]
        at = {"x": svg.WIDTH - 74, "y": svg.TOP + 10 + 16 * row}
        parts.append(el("text", name, **at, class_=f"name row{row % svg.COLOURS}"))
    return frame.draw("Power by number of cases", parts)
