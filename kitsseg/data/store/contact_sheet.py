"""Contact sheet of a store: one slice per case with its labels outlined."""

import math

import numpy as np
import numpy.typing as npt

from kitsseg.data import drawing
from kitsseg.data.drawing import CAPTION, HEADER, INK, PAPER, TILE, WINDOW_HU, draw_text
from kitsseg.data.labels import BACKGROUND, TUMOUR
from kitsseg.data.store.store import Store

MAX_TILES = 300


def contact_sheet(store: Store) -> npt.NDArray[np.uint8]:
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
    draw_text(sheet, "kidney + tumour", (230, 18), drawing.KIDNEY_COLOUR)
    draw_text(sheet, "tumour", (355, 18), drawing.TUMOUR_COLOUR)
    for place, case in enumerate(cases):
        top, left = HEADER + place // columns * (TILE + CAPTION), place % columns * TILE
        sheet[top : top + TILE + CAPTION, left : left + TILE] = _tile(store, int(case))
    return sheet


def telling_slice(pixels: npt.NDArray[np.int64]) -> int:
    """Return the slice with most tumour, else most foreground, else the middle; [S, classes] pixels."""
    for counts in (pixels[:, TUMOUR], pixels[:, BACKGROUND + 1 :].sum(axis=1)):
        if counts.any():
            return int(counts.argmax())
    return len(pixels) // 2


def _tile(store: Store, case: int) -> npt.NDArray[np.uint8]:
    z = telling_slice(store.index.pixels[store.index.case == case])
    image, label = store.images(case)[z], store.labels(case)[z]
    height, width = (max(1, round(n * TILE / max(image.shape))) for n in image.shape)
    tile = np.full((TILE + CAPTION, TILE, 3), PAPER, np.uint8)
    top, left = (TILE - height) // 2, (TILE - width) // 2
    box = slice(top, top + height), slice(left, left + width)
    tile[box] = drawing.draw_outlines(image, label, (width, height))
    name = f"{store.ids[case].removeprefix('case_')}  slice {z}"
    draw_text(tile, name, (4, TILE + CAPTION - 5), INK)
    return tile
