"""Summary of a store as Markdown tables."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kitsseg.data.case_statistics import PERCENTILES
from kitsseg.data.labels import CLASSES, KIDNEY, TUMOUR
from kitsseg.data.store.store import Store

QUANTILES = {"min": 0, "5 %": 5, "25 %": 25, "median": 50, "75 %": 75, "95 %": 95, "max": 100}
MEDIAN = PERCENTILES.index(50)


def markdown(store: Store) -> str:
    """Return `summary` and two Markdown tables.

    The first table has one row per statistic, with its quantiles over cases. The second has one row per
    class, with the HU percentiles within a case: median (5th to 95th percentile) over cases.
    """
    over_cases = [["over cases", "cases", *QUANTILES]]
    for name, values in case_values(store).items():
        known = values[~np.isnan(values)]
        quantiles = np.percentile(known, list(QUANTILES.values())) if len(known) else ()
        cells = [f"{q:.4g}" for q in quantiles] or ["–"] * len(QUANTILES)
        over_cases.append([name, str(len(known)), *cells])
    within = [["HU within a case, over cases: median (5 % to 95 %)", *(f"{p} %" for p in PERCENTILES)]]
    for name in CLASSES:
        percentiles = [card["hu"][name] for card in store.cards if card["hu"][name] is not None]
        spreads = np.percentile(percentiles, [50, 5, 95], axis=0).T if percentiles else ()
        cells = ["{:.0f} ({:.0f} to {:.0f})".format(*spread) for spread in spreads]
        within.append([name, *(cells or ["–"] * len(PERCENTILES))])
    return "\n".join([summary(store), "", *_table(over_cases), "", *_table(within)])


def summary(store: Store) -> str:
    """Return the number of cases, slices and slices of each kind, as a sentence."""
    index = store.index
    kidney = index.pixels[:, KIDNEY] > 0
    tumour_only = int((index.has_tumour & ~kidney).sum())
    return (
        f"{len(store.ids)} cases, {len(index.z)} slices: {index.foreground.sum()} with kidney or "
        f"tumour, {index.has_tumour.sum()} with tumour ({tumour_only} of them without kidney), "
        f"{(~index.foreground).sum()} with background only"
    )


def case_values(store: Store) -> dict[str, npt.NDArray[np.float64]]:
    """Return the values ``[cases]`` of each statistic; NaN where it is undefined for a case."""
    cards, index = store.cards, store.index
    voxels = np.stack([index.pixels[index.case == case].sum(axis=0) for case in range(len(store.ids))])
    grids = [store.grid(case) for case in range(len(store.ids))]
    # A stored voxel can be larger or smaller than a native one.
    scales = [np.prod(grid.native) / np.prod(grid.scaled) for grid in grids]
    spacing = np.array([card["spacing_mm"] for card in cards])
    voxel_ml = spacing.prod(axis=1) * scales / 1000
    out = {
        "slices": np.bincount(index.case, minlength=len(cards)),
        "height": [grid.native[0] for grid in grids],
        "width": [grid.native[1] for grid in grids],
        "slice distance, mm": spacing[:, 0],
        "pixel, mm": spacing[:, 1],
        "kidney, ml": voxels[:, KIDNEY] * voxel_ml,
        "tumour, ml": voxels[:, TUMOUR] * voxel_ml,
        "lowest HU": [card["hu"]["range"][0] for card in cards],
        "highest HU": [card["hu"]["range"][1] for card in cards],
    }
    for name in CLASSES:
        percentiles = [card["hu"][name] for card in cards]
        out[f"{name}, median HU"] = [np.nan if p is None else p[MEDIAN] for p in percentiles]
    return {name: np.asarray(values, float) for name, values in out.items()}


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table with the first column aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [
        [c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        for row in rows
    ]
    rule = "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths))
    head, *body = ["| " + " | ".join(row) + " |" for row in aligned]
    return [head, f"|{rule}|", *body]
