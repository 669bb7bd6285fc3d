"""Combine the rows of several sites: one mean per model and region, and one per difference."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np

from kitsseg.evaluation.stats import Interval
from kitsseg.reporting.formats import csv_text, interval, markdown, number, words
from kitsseg.reporting.sites.meta_analysis import Combined, combine_cases
from kitsseg.reporting.table_rows import Number, Row
from kitsseg.reporting.tables import Study

HEAD = (
    "Model", "Region", "Sites", "Cases", "Mean over sites [95 %]", "New site [95 %]",
    "SD between sites", "I²",
)  # fmt: skip
FILES = ("sites.md", "sites.csv")
NOTE = (
    "Validation Dice by site, combined by random-effects meta-analysis: the sites are a sample of all "
    "sites. Mean over sites: 95 % interval of Hartung and Knapp, never narrower than the uncorrected "
    "one. New site: range that contains the true mean of a further site with a probability of "
    "95 % (needs three sites). Both are clipped to possible values. SD between sites: of their true "
    "means (Paule and Mandel). I²: share of "
    "the variance of the means that is due to differences between sites. Scores are averaged over "
    "seeds; the result describes these weights, not other seeds. Differences are paired within a site."
)


@dataclass(frozen=True)
class Site:
    """The mean, or mean difference, of one site with its interval."""

    name: str
    mean: Interval
    values: dict[str, float]  # by case


@dataclass(frozen=True)
class Pooled:
    """A model, or a difference between two, in one region at several sites."""

    model: str
    region: str
    sites: list[Site]
    rows: list[Row]
    combined: Combined

    @property
    def cases(self) -> list[str]:
        """The ids of all cases."""
        return [case for site in self.sites for case in site.values]

    @property
    def is_difference(self) -> bool:
        """Whether it is a difference between two models."""
        return len({row.recipe for row in self.rows}) > 1


def combine(study: Study) -> list[Pooled]:
    """Return the combined means of models, then those of differences; nothing for one site."""
    found: dict[tuple[str, str], tuple[list[Site], list[Row]]] = {}

    def add(model: str, region: str, site: Site, rows: Sequence[Row]) -> None:
        if site.values:
            sites, used = found.setdefault((model, region), ([], []))
            sites.append(site)
            used.extend(rows)

    for row in study.rows:
        for region in study.labels.table_regions:
            scores = row.scores("validation", region)
            add(row.recipe, region, Site(row.site, scores.cell().mean, scores.by_case()), [row])
    for c in study.comparisons:
        first, second = (row.validation_dice(c.region) for row in (c.first, c.second))
        site = Site(c.first.site, c.paired.difference, {i: first[i] - second[i] for i in c.cases})
        add(f"{c.first.recipe} − {c.second.recipe}", c.region, site, (c.first, c.second))
    pooled = []
    for (model, region), (sites, rows) in found.items():
        if len(sites) > 1 and any(len(site.values) > 1 for site in sites):
            combined = combine_cases([[*site.values.values()] for site in sites])
            lowest = -1 if len({row.recipe for row in rows}) > 1 else 0
            mean, new_site = (_cut(each, lowest) for each in (combined.mean, combined.new_site))
            combined = replace(combined, mean=mean, new_site=new_site)
            pooled.append(Pooled(model, region, sites, rows, combined))
    return pooled


def _cut(values: Interval, lowest: float) -> Interval:
    """Return an interval without the values that a Dice, or a difference of two, cannot have."""
    low, high = np.clip((values.low, values.high), lowest, 1)  # NaN stays NaN
    return Interval(values.mean, float(low), float(high))


def lines(pooled: Sequence[Pooled]) -> list[list[str]]:
    """Return the cells under `HEAD`, one line per model or difference and region."""
    body = []
    for p in pooled:
        sign, new = "+" if p.is_difference else "", p.combined.new_site
        texts = {
            "sites": str(len(p.sites)),
            "cases_of_sites": str(len(p.cases)),
            "mean_of_sites": interval(p.combined.mean, sign),
            "new_site": "–" if np.isnan(new.low) else f"[{new.low:{sign}.3f}, {new.high:{sign}.3f}]",
            "sd_of_sites": number(p.combined.tau),
            "i2": number(p.combined.i2, ".0%"),
        }
        cells = [Number(text, p.rows, p.cases, k, p.model, p.region) for k, text in texts.items()]
        body.append([p.model, words(p.region), *cells])
    return body


def texts(pooled: Sequence[Pooled]) -> dict[str, str]:
    """Return the content of the files with the combined means; nothing for one site."""
    if not pooled:
        return {}
    text = f"# Sites\n\n{markdown(HEAD, lines(pooled))}\n\n{NOTE}\n"
    head = ["model", "region", "site", "cases", "mean", "low", "high"]
    head += ["new site low", "new site high", "sd between sites", "i2"]
    body: list[list[object]] = []
    for p in pooled:
        empty = [""] * 4
        body += [[p.model, p.region, s.name, len(s.values), *astuple(s.mean), *empty] for s in p.sites]
        c = p.combined
        rest = [c.new_site.low, c.new_site.high, c.tau, c.i2]
        body.append([p.model, p.region, "all sites", len(p.cases), *astuple(c.mean), *rest])
    return {"sites.md": text, "sites.csv": csv_text(head, body)}
