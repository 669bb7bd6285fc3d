"""Drawing of CT slices with the outlines of kidney and tumour."""

import cv2
import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import BACKGROUND, TUMOUR

TILE, CAPTION, HEADER = 160, 16, 28  # pixels
WINDOW_HU = (-160, 240)  # soft tissue
# From the colour-blind safe palette of Okabe and Ito, in BGR.
KIDNEY_COLOUR, TUMOUR_COLOUR = (233, 180, 86), (0, 159, 230)
INK, PAPER = (235, 235, 235), (24, 24, 24)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_outlines(
    image: npt.NDArray[np.int16], label: npt.NDArray[np.uint8], size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Return a slice ``[H, W]`` as a BGR picture of ``size`` (W, H), with kidney and tumour outlined."""
    low, high = WINDOW_HU
    grey = (np.clip((image.astype(np.float32) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    interpolation = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_LINEAR
    picture = cv2.cvtColor(cv2.resize(grey, size, interpolation=interpolation), cv2.COLOR_GRAY2BGR)
    for region, colour in ((label > BACKGROUND, KIDNEY_COLOUR), (label == TUMOUR, TUMOUR_COLOUR)):
        mask = cv2.resize(region.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, colour, 1)
    return np.asarray(picture, np.uint8)


def draw_text(
    canvas: npt.NDArray[np.uint8], text: str, place: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    """Draw a line of text with its lower left corner at ``place`` (x, y); the font has ASCII only."""
    text = text.encode("ascii", "replace").decode()
    cv2.putText(canvas, text, place, FONT, 0.4, colour, 1, cv2.LINE_AA)
