"""One picture of a prepared data set: a slice a case with its labels outlined."""

import math

import numpy as np

from kitsseg.data.drawing import (
    CAPTION,
    HEADER,
    INK,
    KIDNEY_COLOUR,
    PAPER,
    TILE,
    TUMOUR_COLOUR,
    WINDOW_HU,
    outlined,
    write,
)
from kitsseg.data.labels import BACKGROUND, TUMOUR
from kitsseg.data.store.store import Store

MAX_TILES = 300


def contact_sheet(store: Store) -> np.ndarray:
    """``[H, W, 3]`` uint8 (B, G, R): of each case the slice with most tumour, or else most kidney.

    Of more than `MAX_TILES` cases as many, evenly spread.
    """
    cases = np.unique(np.linspace(0, len(store.ids) - 1, MAX_TILES).round().astype(int))
    columns = math.ceil(math.sqrt(len(cases) * 1.4))
    rows = math.ceil(len(cases) / columns)
    height, width = HEADER + rows * (TILE + CAPTION), max(columns * TILE, 3 * TILE)
    sheet = np.full((height, width, 3), PAPER, np.uint8)
    _legend(sheet, len(cases), len(store.ids))
    for place, case in enumerate(cases):
        top, left = HEADER + place // columns * (TILE + CAPTION), place % columns * TILE
        sheet[top : top + TILE + CAPTION, left : left + TILE] = _tile(store, int(case))
    return sheet


def telling_slice(pixels: np.ndarray) -> int:
    """Of counts ``[S, classes]``: the slice with most tumour, else most foreground, else the middle."""
    for counts in (pixels[:, TUMOUR], pixels[:, BACKGROUND + 1 :].sum(axis=1)):
        if counts.any():
            return int(counts.argmax())
    return len(pixels) // 2


def _tile(store: Store, case: int) -> np.ndarray:
    index = store.index
    z = telling_slice(index.pixels[index.case == case])
    image, label = store.images(case)[z], store.labels(case)[z]
    scale = TILE / max(image.shape)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    picture = outlined(image, label, size)
    tile = np.full((TILE + CAPTION, TILE, 3), PAPER, np.uint8)
    top, left = (TILE - size[1]) // 2, (TILE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = picture
    name = store.ids[case].removeprefix("case_")
    write(tile, f"{name}  slice {z}", (4, TILE + CAPTION - 5), INK)
    return tile


def _legend(sheet: np.ndarray, shown: int, cases: int) -> None:
    number = f"{cases} cases" if shown == cases else f"{shown} of {cases} cases"
    write(sheet, f"{number}, {WINDOW_HU[0]} to {WINDOW_HU[1]} HU", (6, 18), INK)
    write(sheet, "kidney + tumour", (230, 18), KIDNEY_COLOUR)
    write(sheet, "tumour", (355, 18), TUMOUR_COLOUR)
