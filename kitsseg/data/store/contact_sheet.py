"""Contact sheet of a store: one slice per case with its labels outlined."""

import math

import numpy as np
import numpy.typing as npt

from kitsseg.data.drawing import (
    CAPTION,
    HEADER,
    INK,
    KIDNEY_COLOUR,
    PAPER,
    TILE,
    TUMOUR_COLOUR,
    WINDOW_HU,
    draw_outlines,
    draw_text,
)
from kitsseg.data.labels import BACKGROUND, TUMOUR
from kitsseg.data.store.store import Store

MAX_TILES = 300


def contact_sheet(store: Store) -> npt.NDArray[np.uint8]:
    """Return a ``[H, W, 3]`` BGR picture with the `telling_slice` of each case.

    If there are more than `MAX_TILES` cases, `MAX_TILES` of them are shown, evenly spaced.
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


def telling_slice(pixels: npt.NDArray[np.int64]) -> int:
    """Return the slice with most tumour, else most foreground, else the middle slice.

    Args:
        pixels: ``[S, classes]``, number of pixels per slice and class.
    """
    for counts in (pixels[:, TUMOUR], pixels[:, BACKGROUND + 1 :].sum(axis=1)):
        if counts.any():
            return int(counts.argmax())
    return len(pixels) // 2


def _tile(store: Store, case: int) -> npt.NDArray[np.uint8]:
    index = store.index
    z = telling_slice(index.pixels[index.case == case])
    image, label = store.images(case)[z], store.labels(case)[z]
    scale = TILE / max(image.shape)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    picture = draw_outlines(image, label, size)
    tile = np.full((TILE + CAPTION, TILE, 3), PAPER, np.uint8)
    top, left = (TILE - size[1]) // 2, (TILE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = picture
    name = store.ids[case].removeprefix("case_")
    draw_text(tile, f"{name}  slice {z}", (4, TILE + CAPTION - 5), INK)
    return tile


def _legend(sheet: npt.NDArray[np.uint8], shown: int, cases: int) -> None:
    number = f"{cases} cases" if shown == cases else f"{shown} of {cases} cases"
    draw_text(sheet, f"{number}, {WINDOW_HU[0]} to {WINDOW_HU[1]} HU", (6, 18), INK)
    draw_text(sheet, "kidney + tumour", (230, 18), KIDNEY_COLOUR)
    draw_text(sheet, "tumour", (355, 18), TUMOUR_COLOUR)
