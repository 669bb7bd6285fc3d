"""Forest plots: the mean of each site with its interval, and below them the mean over sites."""

import math
from collections.abc import Iterator, Sequence

from kitsseg.reporting.formats import words
from kitsseg.reporting.html import svg
from kitsseg.reporting.html.markup import Html, el, html_table, join, plot_grid
from kitsseg.reporting.html.plots import LANE, abbreviate, interval_text, lane, signed
from kitsseg.reporting.html.svg import BOTTOM, TOP, Frame
from kitsseg.reporting.sites import combine
from kitsseg.reporting.sites.combine import Pooled


def several_sites(pooled: Sequence[Pooled]) -> Iterator[Html]:
    """Yield the combined means as a table and as forest plots; nothing for one site."""
    if not pooled:
        return
    yield html_table(combine.HEAD, combine.lines(pooled), "Several sites", "figures")
    yield el("p", combine.NOTE, class_="note")
    text = (
        "Bar of a site: 95 % interval of its mean. Bar of all sites: interval of the mean over sites; "
        "the thin line is the range expected for a new site."
    )
    yield join(el("p", text), plot_grid(*((plot_sites(p), caption(p)) for p in pooled)))


def caption(p: Pooled) -> str:
    """Return what a plot shows."""
    return f"{p.model}: {words(p.region)} Dice"


def plot_sites(p: Pooled) -> Html:
    """Plot the means of the sites, and the mean over sites."""
    of_all = p.combined.mean, p.combined.new_site
    ends = [v for mean in (*(s.mean for s in p.sites), *of_all) for v in (mean.low, mean.high)]
    ends += [site.mean.mean for site in p.sites]
    known = [v for v in ends if not math.isnan(v)]
    low, high = min(known), max(known)
    if p.is_difference:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = max(0.02, 0.08 * (high - low))
    frame = Frame((low - margin, high + margin), height=TOP + BOTTOM + LANE * (len(p.sites) + 1))
    labels = [(v, svg.tick_text(v)) for v in svg.ticks(*frame.x)]
    what = "difference in " if p.is_difference else ""
    parts = [frame.axes(f"{what}{words(p.region)} Dice, validation", "", labels)]
    if p.is_difference:
        parts.append(svg.line([(frame.px(0), TOP), (frame.px(0), frame.height - BOTTOM)], "zero"))
    for i, site in enumerate(p.sites):
        y, mean = TOP + LANE * i + 30, site.mean
        text = signed(mean.mean) if p.is_difference else f"{mean.mean:.3f}"
        tip = el("title", f"{site.name}: {text}{interval_text(mean)}")
        mark = el("circle", tip, cx=frame.px(mean.mean), cy=y, r=4, class_="mark plain")
        name = f"{abbreviate(site.name)} ({len(site.values)} cases)"
        parts += lane(frame, y, name, mean, text, mark, "plain")
    y, mean, new = TOP + LANE * len(p.sites) + 30, p.combined.mean, p.combined.new_site
    if not math.isnan(new.low):
        parts.append(svg.line([(frame.px(v), y) for v in (new.low, new.high)], "axis"))
    text = signed(mean.mean) if p.is_difference else f"{mean.mean:.3f}"
    mark = svg.marker(frame.px(mean.mean), y, 3, f"all sites: {text}{interval_text(mean)}", extra="big")
    parts += lane(frame, y, "all sites", mean, text, mark, "row3")
    return frame.draw(f"{caption(p)} by site", parts)
