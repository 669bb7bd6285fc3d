"""Summary of a store as Markdown tables."""

from collections.abc import Sequence
from typing import Any

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
    over_cases = _table(
        ["over cases", "cases", *QUANTILES],
        [[name, *_cells(values)] for name, values in case_values(store).items()],
    )
    within = _table(
        ["HU within a case, over cases: median (5 % to 95 %)", *(f"{p} %" for p in PERCENTILES)],
        [[name, *map(_spread, class_percentiles(store, name))] for name in CLASSES],
    )
    return "\n".join([summary(store), "", *over_cases, "", *within])


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
    voxel_ml = np.array([_stored_voxel_ml(store, case) for case in range(len(store.ids))])
    spacing = np.array([card["spacing_mm"] for card in cards])
    native = np.array([card["native"] for card in cards])
    out = {
        "slices": np.bincount(index.case, minlength=len(cards)),
        "height": native[:, 0],
        "width": native[:, 1],
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


def class_percentiles(store: Store, name: str) -> npt.NDArray[np.float64]:
    """Return the HU percentiles ``[percentiles, cases]`` of a class, for the cases that contain it."""
    known = [card["hu"][name] for card in store.cards if card["hu"][name] is not None]
    return np.asarray(known, float).reshape(-1, len(PERCENTILES)).T


def _stored_voxel_ml(store: Store, case: int) -> float:
    """Return the volume of a stored voxel, which scaling makes larger than a native one."""
    grid = store.grid(case)
    native_pixels = np.prod(grid.native) / np.prod(grid.scaled)
    return float(np.prod(store.cards[case]["spacing_mm"]) * native_pixels / 1000)


def _cells(values: npt.NDArray[Any]) -> list[str]:
    known = values[~np.isnan(values)]
    if not len(known):
        return ["0", *["–"] * len(QUANTILES)]
    return [str(len(known)), *(f"{q:.4g}" for q in np.percentile(known, list(QUANTILES.values())))]


def _spread(values: npt.NDArray[Any]) -> str:
    if not len(values):
        return "–"
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["| " + " | ".join(_align(row, widths)) + " |" for row in (head, *rows)]
    rule = "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths))
    return [lines[0], f"|{rule}|", *lines[1:]]


def _align(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Align the first cell left, the others right."""
    return [c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
