"""Drawing of CT slices with the outlines of their classes."""

import cv2
import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import KITS19, Labels

TILE, CAPTION, HEADER = 160, 16, 28  # pixels
WINDOW_HU = (-160, 240)  # soft tissue
INK, PAPER = (235, 235, 235), (24, 24, 24)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_outlines(
    image: npt.NDArray[np.int16],
    label: npt.NDArray[np.uint8],
    size: tuple[int, int],
    labels: Labels = KITS19,
) -> npt.NDArray[np.uint8]:
    """Return a slice ``[H, W]`` as a BGR picture of ``size`` (W, H), with its classes outlined."""
    low, high = WINDOW_HU
    grey = (np.clip((image.astype(np.float32) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    interpolation = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_LINEAR
    picture = cv2.cvtColor(cv2.resize(grey, size, interpolation=interpolation), cv2.COLOR_GRAY2BGR)
    small = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    for class_id in range(1, len(labels.classes)):
        # With all higher classes, which are drawn later, so that a common border is one line.
        mask = (small >= class_id).astype(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, bgr(labels, class_id), 1)
    return np.asarray(picture, np.uint8)


def bgr(labels: Labels, class_id: int) -> tuple[int, int, int]:
    """Return the colour of a class in OpenCV's order."""
    red, green, blue = bytes.fromhex(labels.colour(class_id).removeprefix("#"))
    return blue, green, red


def draw_text(
    canvas: npt.NDArray[np.uint8], text: str, place: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    """Draw a line of text with its lower left corner at ``place`` (x, y); the font has ASCII only."""
    text = text.encode("ascii", "replace").decode()
    cv2.putText(canvas, text, place, FONT, 0.4, colour, 1, cv2.LINE_AA)
