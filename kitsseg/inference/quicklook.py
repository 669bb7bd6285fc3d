"""Draw an overview picture of a segmented volume: slices with outlined labels."""

import math
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from kitsseg.data import drawing
from kitsseg.data.bounding_box import bounding_box
from kitsseg.data.drawing import CAPTION, HEADER, INK, draw_text
from kitsseg.data.io.nifti.read import Image
from kitsseg.data.labels import Labels
from kitsseg.system.files import replacing

SIDE, COLUMNS, ROWS = 224, 4, 3  # side of a tile in pixels, columns and rows of tiles


def save(
    name: str, image: Image, label: npt.NDArray[np.uint8], volumes_ml: Mapping[str, float],
    labels: Labels, path: Path,
) -> None:  # fmt: skip
    """Write an overview picture as PNG; its first line shows ``name`` and ``volumes_ml``."""
    hu = image.hu
    chosen = choose_slices(label, labels.mask(label, labels.target), COLUMNS * ROWS)
    rows = math.ceil(len(chosen) / COLUMNS)
    picture = np.full((HEADER + rows * (SIDE + CAPTION), COLUMNS * SIDE, 3), drawing.PAPER, np.uint8)
    volumes = ", ".join(f"{region} {ml:.1f} ml" for region, ml in volumes_ml.items())
    low, high = drawing.WINDOW_HU
    draw_text(picture, f"{name[:48]}   {volumes}   {low} to {high} HU", (6, 18), INK)
    right = COLUMNS * SIDE
    for class_id in range(len(labels.classes) - 1, 0, -1):
        text = labels.classes[class_id]
        right -= 8 + 8 * len(text)
        draw_text(picture, text, (right, 18), drawing.bgr(labels, class_id))
    sides_mm = np.array(hu.shape[1:]) * np.array(image.layout.spacing_mm[1:])
    height, width = (max(1, round(SIDE * mm / max(sides_mm))) for mm in sides_mm)
    for place, z in enumerate(chosen):
        top, left = HEADER + place // COLUMNS * (SIDE + CAPTION), place % COLUMNS * SIDE
        draw_text(picture, f"slice {z + 1} of {len(hu)}", (left + 4, top + SIDE + CAPTION - 5), INK)
        top, left = top + (SIDE - height) // 2, left + (SIDE - width) // 2
        tile = drawing.draw_outlines(hu[z], label[z], (width, height), labels)
        picture[top : top + height, left : left + width] = tile
    done, data = cv2.imencode(".png", picture)
    assert done
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


def choose_slices(label: npt.NDArray[np.uint8], target: npt.NDArray[np.bool_], count: int) -> list[int]:
    """Return up to ``count`` slice indices, evenly spaced over the label, or the volume if it is empty.

    The slice with the largest area of the mask ``target`` replaces the nearest of them.
    """
    box = bounding_box(label)
    ends = (0, len(label)) if box is None else (box[0].start, box[0].stop)
    chosen = np.unique(np.linspace(ends[0], ends[1] - 1, count).round().astype(int))
    if box is not None:
        area = target[box].sum(axis=(1, 2))
        if area.any():
            largest = box[0].start + int(area.argmax())
            chosen[np.abs(chosen - largest).argmin()] = largest
    return [int(z) for z in chosen]
