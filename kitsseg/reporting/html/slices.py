"""Cases to scroll through: slices as images, masks as outlines, attention coefficients as heat maps."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from kitsseg.data.labels import KIDNEY, TUMOUR
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.showcase import Shown

QUALITY = 60
# Drawn in this order, so that the truth lies on top.
MASKS = {"before": "before fine-tuning", "prediction": "prediction", "truth": "truth"}
# The official kidney holds the tumour.
OUTLINES = {"kidney": KIDNEY, "tumour": TUMOUR}


class Images:
    """Slices as data URIs, each once, whatever number of runs shows it."""

    def __init__(self) -> None:
        self.uris: list[str] = []
        self._numbers: dict[str, int] = {}

    def add(self, image: np.ndarray) -> int:
        """The number under which ``image`` ``[H, W]`` uint8 is kept."""
        key = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
        if key not in self._numbers:
            self._numbers[key] = len(self.uris)
            self.uris.append(data_uri(image, ".webp", [cv2.IMWRITE_WEBP_QUALITY, QUALITY]))
        return self._numbers[key]


def data_uri(image: np.ndarray, ending: str, options: list[int] | None = None) -> str:
    """An image as text that a page can hold."""
    done, encoded = cv2.imencode(ending, image, [] if options is None else options)
    assert done, f"{ending} of {image.shape}"
    return f"data:image/{ending[1:]};base64,{base64.b64encode(encoded.tobytes()).decode()}"


def runs(mask: np.ndarray) -> str:
    """Class ids ``[H, W]`` as base64: for each run of equal pixels its length * 4 + class.

    A number is written in groups of 7 bits, the lowest first; a group's high bit says that another
    follows. A slice without any class but 0 is "".
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


def outline(inside: np.ndarray) -> str:
    """An SVG path along the pixel edges between ``inside`` ``[H, W]`` bool and the rest."""
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


def outlines(masks: Mapping[str, np.ndarray]) -> Html:
    """Paths of the official regions of one slice's masks ``[H, W]``."""
    return join(
        *(
            el("path", d=outline(masks[name] >= least), class_=f"outline {name} {region}")
            for name in MASKS
            if name in masks
            for region, least in OUTLINES.items()
        )
    )


def layer(masks: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> Html:
    """The outlines as a drawing to lie on an image of ``shape`` [H, W]."""
    box = f"0 0 {shape[1]} {shape[0]}"
    return el("svg", outlines(masks), viewBox=box, aria_hidden="true", preserveAspectRatio="none")


def thin(shown: Shown, most: int) -> Shown:
    """At most ``most`` slices of a case, evenly spaced, with the one that is shown first."""
    step = -(-len(shown.z) // most)
    kept = slice(shown.start % step, None, step)
    masks = {name: volume[kept] for name, volume in shown.masks.items()}
    return replace(
        shown, z=shown.z[kept], image=shown.image[kept], masks=masks, start=shown.start // step
    )


def viewer(shown: Shown, name: str, about: str, images: Images) -> tuple[Html, dict[str, Any]]:
    """A case that can be scrolled through, and what its script needs.

    Args:
        shown: the case.
        name: unique in the page.
        about: the caption.
        images: to which its slices are added.
    """
    numbers = [images.add(image) for image in shown.image]
    height, width = shown.image.shape[1:]
    start = {mask: volume[shown.start] for mask, volume in shown.masks.items()}
    alt = f"{shown.case}, slice {shown.z[shown.start] + 1}, with the outlines of the labels"
    picture = el("img", src=images.uris[numbers[shown.start]], alt=alt, width=width, height=height)
    slider = el(
        "input", type="range", min=0, max=len(numbers) - 1, value=shown.start, step=1,
        id=f"{name}-slice", aria_label=f"Slice of {shown.case}, {shown.role} case",
    )  # fmt: skip
    place = el("output", f"slice {shown.z[shown.start] + 1}", for_=f"{name}-slice")
    figure = el(
        "figure",
        el("div", picture, layer(start, (height, width)), class_="stage"),
        el(
            "div",
            slider,
            place,
            el("button", "Larger", type="button", class_="larger"),
            class_="controls",
        ),
        el("figcaption", about),
        class_="viewer",
        id=name,
        data_case=shown.case,
    )
    data = {
        "width": width,
        "height": height,
        "z": (shown.z + 1).tolist(),
        "images": numbers,
        "masks": {mask: [runs(each) for each in volume] for mask, volume in shown.masks.items()},
    }
    return figure, data


def gate_maps(shown: Shown) -> Html:
    """The slice with most tumour and what each attention gate lets through of it."""
    height, width = shown.image.shape[1:]
    start = {
        mask: volume[shown.start]
        for mask, volume in shown.masks.items()
        if mask in ("truth", "prediction")
    }
    drawing = layer(start, (height, width))
    picture = el(
        "img", src=data_uri(shown.image[shown.start], ".webp", [cv2.IMWRITE_WEBP_QUALITY, QUALITY]),
        alt=f"{shown.case}, slice {shown.z[shown.start] + 1}", width=width, height=height,
    )  # fmt: skip
    figures = [
        el("figure", el("div", picture, drawing, class_="stage"), el("figcaption", "CT with outlines"))
    ]
    only_truth = layer({"truth": start["truth"]}, (height, width))
    for number, gate in enumerate(shown.gates, 1):
        values = gate.astype(np.float32)
        low, high = float(values.min()), float(values.max())
        share = (values - low) / (high - low) if high > low else np.zeros_like(values)
        heat = cv2.applyColorMap(np.rint(255 * share).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
        size = " × ".join(map(str, shown.grids[number - 1]))
        image = el(
            "img", src=data_uri(heat, ".png"), width=width, height=height, class_="heat",
            alt=f"Coefficients of gate {number} on that slice, from {low:.2f} to {high:.2f}",
        )  # fmt: skip
        caption = el("figcaption", el("b", f"Gate {number}"), f" ({size}): {low:.2f} – {high:.2f}")
        figures.append(el("figure", el("div", image, only_truth, class_="stage"), caption))
    title = el("h4", f"{shown.role.capitalize()} case: {shown.case}")
    return join(title, el("div", *figures, class_="gates"))
