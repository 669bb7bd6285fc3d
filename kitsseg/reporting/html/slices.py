"""Embed cases in the page: slices as images, masks as outlines, attention maps as heat maps."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import KIDNEY, TUMOUR
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.showcase import ExampleCase

Pixels = npt.NDArray[np.uint8]

WEBP = (cv2.IMWRITE_WEBP_QUALITY, 60)
# In drawing order: the truth is on top.
MASKS = ("before", "prediction", "truth")
# Lowest class id of each official region; the kidney includes the tumour.
LOWEST_CLASS = {"kidney": KIDNEY, "tumour": TUMOUR}


class Images:
    """The distinct images of the page as data URIs, so that runs share equal slices."""

    def __init__(self) -> None:
        self.uris: list[str] = []
        self._indices: dict[str, int] = {}

    def add(self, image: Pixels) -> int:
        """Return the index in ``uris`` of ``image`` ``[H, W]``; add it if it is new."""
        key = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
        if key not in self._indices:
            self._indices[key] = len(self.uris)
            self.uris.append(data_uri(image, ".webp", WEBP))
        return self._indices[key]


def data_uri(image: Any, extension: str, options: Sequence[int] = ()) -> str:
    """Return an image ``[H, W]`` or ``[H, W, 3]`` uint8 as a data URI."""
    success, encoded = cv2.imencode(extension, image, options)
    assert success, f"{extension} of {image.shape}"
    return f"data:image/{extension[1:]};base64,{base64.b64encode(encoded.tobytes()).decode()}"


def encode_mask(mask: npt.NDArray[Any]) -> str:
    """Return class ids ``[H, W]`` run-length encoded as base64; an empty text for an empty mask.

    Each run of equal pixels is the number ``length * 4 + class`` as a variable-length integer: groups
    of 7 bits, lowest first; the high bit is set if another group follows.
    """
    flat = np.ascontiguousarray(mask, np.uint8).ravel()
    if not flat.any():
        return ""
    starts = np.flatnonzero(np.diff(flat, prepend=flat[0] ^ 1))
    lengths = np.diff(starts, append=flat.size)
    out = bytearray()
    for value in (lengths * 4 + flat[starts]).tolist():
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    return base64.b64encode(bytes(out)).decode()


def outline_path(inside: npt.NDArray[np.bool_]) -> str:
    """Return an SVG path along the pixel edges of the region ``inside`` ``[H, W]``."""
    padded = np.pad(inside.astype(np.int8), 1)
    parts = []
    for edges, form in (
        (np.diff(padded, axis=0)[:, 1:-1], "M{start} {line}H{stop}"),
        (np.diff(padded, axis=1)[1:-1].T, "M{line} {start}V{stop}"),
    ):
        for line in np.flatnonzero(edges.any(axis=1)):
            steps = np.flatnonzero(np.diff((edges[line] != 0).astype(np.int8), prepend=0, append=0))
            parts += [
                form.format(line=line, start=a, stop=b)
                for a, b in zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True)
            ]
    return "".join(parts)


def outline_layer(masks: Mapping[str, Pixels]) -> Html:
    """Return an SVG overlay with the outlines of the official regions in ``masks`` ``[H, W]``."""
    height, width = masks["truth"].shape
    paths = (
        el("path", d=outline_path(masks[name] >= lowest), class_=f"outline {name} {region}")
        for name in MASKS
        if name in masks
        for region, lowest in LOWEST_CLASS.items()
    )
    box = f"0 0 {width} {height}"
    return el("svg", *paths, viewBox=box, aria_hidden="true", preserveAspectRatio="none")


def thin(example: ExampleCase, max_slices: int) -> ExampleCase:
    """Return the case with about ``max_slices`` evenly spaced slices, including its ``start``."""
    step = -(-len(example.z) // max_slices)
    chosen = slice(example.start % step, None, step)
    return replace(
        example,
        z=example.z[chosen],
        image=example.image[chosen],
        masks={name: volume[chosen] for name, volume in example.masks.items()},
        start=example.start // step,
    )


def slice_viewer(
    example: ExampleCase, name: str, caption: str, images: Images
) -> tuple[Html, dict[str, Any]]:
    """Return the viewer of a case and the data for its script.

    Args:
        example: case to show.
        name: element id, unique on the page.
        caption: below the image.
        images: the page's images; the case's slices are added.
    """
    indices = [images.add(image) for image in example.image]
    height, width = example.image.shape[1:]
    masks = {mask: volume[example.start] for mask, volume in example.masks.items()}
    place = f"slice {example.z[example.start] + 1}"
    picture = el(
        "img", src=images.uris[indices[example.start]], width=width, height=height,
        alt=f"{example.case}, {place}, with the outlines of the labels",
    )  # fmt: skip
    slider = el(
        "input", type="range", min=0, max=len(indices) - 1, value=example.start, step=1,
        id=f"{name}-slice", aria_label=f"Slice of {example.case}, {example.role} case",
    )  # fmt: skip
    output = el("output", place, for_=f"{name}-slice")
    larger = el("button", "Larger", type="button", class_="larger")
    figure = el(
        "figure",
        el("div", picture, outline_layer(masks), class_="stage"),
        el("div", slider, output, larger, class_="controls"),
        el("figcaption", caption),
        class_="viewer",
        id=name,
        data_case=example.case,
    )
    data = {
        "width": width,
        "height": height,
        "z": (example.z + 1).tolist(),
        "images": indices,
        "masks": {mask: [encode_mask(m) for m in volume] for mask, volume in example.masks.items()},
    }
    return figure, data


def gate_maps(example: ExampleCase) -> Html:
    """Return the slice with the largest tumour area beside the coefficients of each attention gate."""
    height, width = example.image.shape[1:]
    masks = {name: example.masks[name][example.start] for name in ("truth", "prediction")}
    picture = el(
        "img", src=data_uri(example.image[example.start], ".webp", WEBP), width=width, height=height,
        alt=f"{example.case}, slice {example.z[example.start] + 1}",
    )  # fmt: skip
    caption = el("figcaption", "CT with truth and prediction")
    figures = [el("figure", el("div", picture, outline_layer(masks), class_="stage"), caption)]
    truth = outline_layer({"truth": masks["truth"]})
    for number, (gate, grid) in enumerate(zip(example.gates, example.grids, strict=True), 1):
        values = gate.astype(np.float32)
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
        heat = cv2.applyColorMap(np.rint(255 * scaled).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
        image = el(
            "img", src=data_uri(heat, ".png"), width=width, height=height, class_="heat",
            alt=f"Coefficients of gate {number} on this slice, from {low:.2f} to {high:.2f}",
        )  # fmt: skip
        size = f" ({grid[0]} × {grid[1]}): {low:.2f} – {high:.2f}"
        caption = el("figcaption", el("b", f"Gate {number}"), size)
        figures.append(el("figure", el("div", image, truth, class_="stage"), caption))
    title = el("h4", f"{example.role.capitalize()} case: {example.case}")
    return join(title, el("div", *figures, class_="gates"))
