"""One picture of one segmented volume: slices through the kidneys with what was found outlined."""

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from kitsseg.data.bounding_box import bounding_box
from kitsseg.data.drawing import (
    CAPTION,
    HEADER,
    INK,
    KIDNEY_COLOUR,
    PAPER,
    TUMOUR_COLOUR,
    WINDOW_HU,
    draw_outlines,
    draw_text,
)
from kitsseg.data.labels import TUMOUR

SIDE, COLUMNS, ROWS = 224, 4, 3  # pixels of a tile, tiles


def quick_look(
    name: str,
    hu: np.ndarray,
    label: np.ndarray,
    spacing_mm: Sequence[float],
    volumes_ml: Mapping[str, float],
) -> np.ndarray:
    """``[H, W, 3]`` uint8 (B, G, R).

    Args:
        hu, label: ``[S, H, W]``, slices from head to foot, rows from front to back.
        spacing_mm: of slices, rows and columns.
        volumes_ml: by region, for the line at the top.
    """
    chosen = telling_slices(label, COLUMNS * ROWS)
    rows = math.ceil(len(chosen) / COLUMNS)
    picture = np.full((HEADER + rows * (SIDE + CAPTION), COLUMNS * SIDE, 3), PAPER, np.uint8)
    volumes = ", ".join(f"{region} {ml:.1f} ml" for region, ml in volumes_ml.items())
    draw_text(picture, f"{name[:48]}   {volumes}   {WINDOW_HU[0]} to {WINDOW_HU[1]} HU", (6, 18), INK)
    draw_text(picture, "kidney", (COLUMNS * SIDE - 120, 18), KIDNEY_COLOUR)
    draw_text(picture, "tumour", (COLUMNS * SIDE - 60, 18), TUMOUR_COLOUR)
    sides_mm = np.array(hu.shape[1:]) * np.array(spacing_mm[1:])
    height, width = (max(1, round(SIDE * mm / max(sides_mm))) for mm in sides_mm)
    for place, z in enumerate(chosen):
        top, left = HEADER + place // COLUMNS * (SIDE + CAPTION), place % COLUMNS * SIDE
        draw_text(picture, f"slice {z + 1} of {len(hu)}", (left + 4, top + SIDE + CAPTION - 5), INK)
        top, left = top + (SIDE - height) // 2, left + (SIDE - width) // 2
        tile = draw_outlines(hu[z], label[z], (width, height))
        picture[top : top + height, left : left + width] = tile
    return picture


def telling_slices(label: np.ndarray, count: int) -> list[int]:
    """Up to ``count`` slices, evenly spread over those that hold something (of none, over all).

    The one nearest to the slice with most tumour gives way to that.
    """
    box = bounding_box(label)
    ends = (0, len(label)) if box is None else (box[0].start, box[0].stop)
    chosen = np.unique(np.linspace(ends[0], ends[1] - 1, count).round().astype(int))
    if box is not None:
        tumour = (label[box] == TUMOUR).sum(axis=(1, 2))
        if tumour.any():
            most = box[0].start + int(tumour.argmax())
            chosen[np.abs(chosen - most).argmin()] = most
    return [int(z) for z in chosen]


def png(picture: np.ndarray) -> bytes:
    """``picture`` as the bytes of a PNG file."""
    done, data = cv2.imencode(".png", picture)
    assert done
    return data.tobytes()
