"""Data card of a store: Markdown tables, and a contact sheet with one outlined slice per case."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kitsseg.data import drawing
from kitsseg.data.case_statistics import PERCENTILES
from kitsseg.data.drawing import CAPTION, HEADER, INK, PAPER, TILE, WINDOW_HU, draw_text
from kitsseg.data.labels import BACKGROUND, KITS19, Labels
from kitsseg.data.store.store import Store

QUANTILES = {"min": 0, "5 %": 5, "25 %": 25, "median": 50, "75 %": 75, "95 %": 95, "max": 100}
MAX_TILES = 300


def markdown(store: Store, labels: Labels = KITS19) -> str:
    """Return the number of slices of each kind, as a sentence, and two Markdown tables.

    The first table has one row per statistic, with its quantiles over cases. The second has one row per
    class, with the HU percentiles within a case: median (5th to 95th percentile) over cases.
    """
    index, target = store.index, store.index.contains(labels.ids(labels.target))
    others = labels.other_classes
    alone = int((target & ~index.contains([labels.classes.index(name) for name in others])).sum())
    without = f" ({alone} of them without {' or '.join(others)})" if others else ""
    summary = (
        f"{len(store.ids)} cases, {len(index.z)} slices: {index.foreground.sum()} with "
        f"{' or '.join(labels.classes[1:])}, {target.sum()} with {labels.target}{without}, "
        f"{(~index.foreground).sum()} with background only"
    )
    over_cases = [["over cases", "cases", *QUANTILES]]
    for name, values in case_values(store, labels).items():
        known = values[~np.isnan(values)]
        quantiles = np.percentile(known, list(QUANTILES.values())) if len(known) else ()
        cells = [f"{q:.4g}" for q in quantiles] or ["–"] * len(QUANTILES)
        over_cases.append([name, str(len(known)), *cells])
    within = [["HU within a case, over cases: median (5 % to 95 %)", *(f"{p} %" for p in PERCENTILES)]]
    for name in labels.classes:
        percentiles = [card["hu"][name] for card in store.cards if card["hu"][name] is not None]
        spreads = np.percentile(percentiles, [50, 5, 95], axis=0).T if percentiles else ()
        cells = ["{:.0f} ({:.0f} to {:.0f})".format(*spread) for spread in spreads]
        within.append([name, *(cells or ["–"] * len(PERCENTILES))])
    return "\n".join([summary, "", *_table(over_cases), "", *_table(within)])


def case_values(store: Store, labels: Labels = KITS19) -> dict[str, npt.NDArray[np.float64]]:
    """Return the values ``[cases]`` of each statistic; NaN where it is undefined for a case."""
    cards, index, cases = store.cards, store.index, range(len(store.ids))
    voxels = np.stack([index.pixels[index.case == case].sum(axis=0) for case in cases])
    grids = [store.grid(case) for case in cases]
    # A stored voxel can be larger or smaller than a native one.
    scales = [np.prod(grid.native) / np.prod(grid.scaled) for grid in grids]
    spacing, slices = np.array([card["spacing_mm"] for card in cards]), np.bincount(index.case)
    voxel_ml = spacing.prod(axis=1) * scales / 1000
    out = {
        "slices": [g.native[0] if len(g.native) == 3 else n for g, n in zip(grids, slices, strict=True)],
        "height": [grid.native[-2] for grid in grids],
        "width": [grid.native[-1] for grid in grids],
        "slice distance, mm": spacing[:, 0],
        "pixel, mm": spacing[:, 1],
        **{f"{c}, ml": voxels[:, i] * voxel_ml for i, c in enumerate(labels.classes) if i},
        "lowest HU": [card["hu"]["range"][0] for card in cards],
        "highest HU": [card["hu"]["range"][1] for card in cards],
    }
    median = PERCENTILES.index(50)
    for name in labels.classes:
        percentiles = [card["hu"][name] for card in cards]
        out[f"{name}, median HU"] = [np.nan if p is None else p[median] for p in percentiles]
    return {name: np.asarray(values, float) for name, values in out.items()}


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table with the first column aligned left, the others right."""
    first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = f"| {{:<{first}}} | " + " | ".join(f"{{:>{width}}}" for width in others) + " |"
    head, *body = [line.format(*row) for row in rows]
    rule = "|".join(["-" * (first + 2), *("-" * (width + 1) + ":" for width in others)])
    return [head, f"|{rule}|", *body]


def contact_sheet(store: Store, labels: Labels = KITS19) -> npt.NDArray[np.uint8]:
    """Return a ``[H, W, 3]`` BGR picture with the `telling_slice` of each case.

    If there are more than `MAX_TILES` cases, `MAX_TILES` of them are shown, evenly spaced.
    """
    cases = np.unique(np.linspace(0, len(store.ids) - 1, MAX_TILES).round().astype(int))
    columns = math.ceil(math.sqrt(len(cases) * 1.4))
    height = HEADER + math.ceil(len(cases) / columns) * (TILE + CAPTION)
    sheet = np.full((height, max(columns, 3) * TILE, 3), PAPER, np.uint8)
    number = f"{len(cases)} of " if len(cases) < len(store.ids) else ""
    low, high = WINDOW_HU
    draw_text(sheet, f"{number}{len(store.ids)} cases, {low} to {high} HU", (6, 18), INK)
    left = 230
    for class_id, class_name in list(enumerate(labels.classes))[1:]:
        draw_text(sheet, class_name, (left, 18), drawing.bgr(labels, class_id))
        left += 16 + 8 * len(class_name)
    for place, case in enumerate(cases):
        top, left = HEADER + place // columns * (TILE + CAPTION), place % columns * TILE
        sheet[top : top + TILE + CAPTION, left : left + TILE] = _tile(store, int(case), labels)
    return sheet


def telling_slice(pixels: npt.NDArray[np.int64], labels: Labels = KITS19) -> int:
    """Return the slice with most of the target region, else most foreground, else the middle one.

    ``pixels`` is ``[S, classes]``.
    """
    target = pixels[:, list(labels.ids(labels.target))].sum(axis=1)
    for counts in (target, pixels[:, BACKGROUND + 1 :].sum(axis=1)):
        if counts.any():
            return int(counts.argmax())
    return len(pixels) // 2


def _tile(store: Store, case: int, labels: Labels) -> npt.NDArray[np.uint8]:
    z = telling_slice(store.index.pixels[store.index.case == case], labels)
    image, label = store.images(case)[z], store.labels(case)[z]
    height, width = (max(1, round(n * TILE / max(image.shape))) for n in image.shape)
    tile = np.full((TILE + CAPTION, TILE, 3), PAPER, np.uint8)
    top, left = (TILE - height) // 2, (TILE - width) // 2
    box = slice(top, top + height), slice(left, left + width)
    tile[box] = drawing.draw_outlines(image, label, (width, height), labels)
    name = f"{store.ids[case].removeprefix('case_')}  slice {z}"
    draw_text(tile, name, (4, TILE + CAPTION - 5), INK)
    return tile
