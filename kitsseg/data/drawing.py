"""Slices drawn as pictures: windowed, with the outlines of kidney and tumour."""

import cv2
import numpy as np

from kitsseg.data.labels import BACKGROUND, TUMOUR

TILE, CAPTION, HEADER = 160, 16, 28  # pixels
WINDOW_HU = (-160, 240)  # soft tissue
# Distinct from each other and from grey in any kind of colour vision (Okabe, Ito); in OpenCV's B, G, R.
KIDNEY_COLOUR, TUMOUR_COLOUR = (233, 180, 86), (0, 159, 230)
INK, PAPER = (235, 235, 235), (24, 24, 24)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def outlined(image: np.ndarray, label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``[H, W, 3]`` uint8 (B, G, R) of ``size`` (W, H): a slice in HU, kidney and tumour outlined."""
    low, high = WINDOW_HU
    grey = (np.clip((image.astype(np.float32) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    way = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_LINEAR
    picture = cv2.cvtColor(cv2.resize(grey, size, interpolation=way), cv2.COLOR_GRAY2BGR)
    for region, colour in ((label > BACKGROUND, KIDNEY_COLOUR), (label == TUMOUR, TUMOUR_COLOUR)):
        mask = cv2.resize(region.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, colour, 1)
    return picture


def write(canvas: np.ndarray, text: str, place: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Put a line of text into a picture, its lower left corner at ``place`` (x, y)."""
    cv2.putText(canvas, text, place, FONT, 0.4, colour, 1, cv2.LINE_AA)
