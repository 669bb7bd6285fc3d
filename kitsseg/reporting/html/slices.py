"""Report sections with images: example cases with a slice slider, and attention maps.

Slices are embedded as images, masks as outlines and attention maps as heat maps.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import KIDNEY, TUMOUR
from kitsseg.reporting import showcase
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.showcase import ExampleCase
from kitsseg.reporting.strata import tumour_ml
from kitsseg.reporting.table_rows import Row

Pixels = npt.NDArray[np.uint8]

# Total number of slices on the page and least number per case; they limit the size of the file.
MAX_SLICES, MIN_SLICES_PER_CASE = 480, 12
WEBP = (cv2.IMWRITE_WEBP_QUALITY, 60)
# In drawing order: the truth is on top.
MASKS = ("before", "prediction", "truth")
# Lowest class id of each official region; the kidney includes the tumour.
LOWEST_CLASS = {"kidney": KIDNEY, "tumour": TUMOUR}
LONGER_NAMES = {"before": "before fine-tuning", "kidney": "kidney (thin lines)"}
# Title, run, its example cases, and the problem that prevents showing them, if any.
RowShowcase = tuple[str, Record, list[ExampleCase], str]


def find_showcases(rows: Sequence[Row], folders: Mapping[int, Path]) -> list[RowShowcase]:
    """Return the example cases of each row's first run that has any; ``folders`` by ``id(record)``."""
    found: list[RowShowcase] = []
    for row in rows:
        for run in row.runs:
            try:
                cases, problem = showcase.read(folders[id(run)]), ""
            except ValueError as error:
                cases, problem = [], str(error)
            if cases or problem:
                found.append((f"{row.label}, seed {run.seed}", run, cases, problem))
                break
    return found


def slice_viewers(showcases: Sequence[RowShowcase]) -> tuple[Html | None, dict[str, Any]]:
    """Return the viewers of all example cases and the data for their script."""
    images: dict[str, int] = {}
    data: dict[str, Any] = {}
    parts = []
    count = sum(len(cases) for _, _, cases, _ in showcases)
    max_slices = max(MIN_SLICES_PER_CASE, MAX_SLICES // max(1, count))
    for number, (title, run, cases, problem) in enumerate(showcases):
        parts.append(el("h3", title))
        if problem:
            parts.append(el("p", problem, class_="note"))
        figures = []
        for whole in cases:
            example, name = thin(whole, max_slices), f"view-{number}-{whole.role}"
            figure, data[name] = slice_viewer(example, name, _caption(example, run), images)
            figures.append(figure)
        parts.append(el("div", *figures, class_="viewers"))
    if not data:
        return (join(*parts) if parts else None), {}
    boxes = []
    for name in (*reversed(MASKS), "kidney"):
        # "before" is off initially, since it covers the others.
        box = el("input", type="checkbox", value=name, checked=name != "before")
        line = el("i", class_=name, aria_hidden="true")
        boxes.append(el("label", box, line, LONGER_NAMES.get(name, name)))
    text = (
        "Cases are chosen by tumour Dice after the last stage. Change slices with the slider or the "
        "arrow keys, or click an image and scroll. Intensities are windowed as for the network. Slices "
        "run from head to foot, viewed from the feet: the patient's left is on the right."
    )
    switches = el("fieldset", el("legend", "Outlines"), *boxes, id="outlines")
    return join(el("p", text), switches, *parts), {"images": list(images), "viewers": data}


def thin(example: ExampleCase, max_slices: int) -> ExampleCase:
    """Return the case with about ``max_slices`` evenly spaced slices, including its ``start``."""
    step = -(-len(example.z) // max_slices)
    chosen = slice(example.start % step, None, step)
    masks = {name: volume[chosen] for name, volume in example.masks.items()}
    z, image, start = example.z[chosen], example.image[chosen], example.start // step
    return replace(example, z=z, image=image, masks=masks, start=start)


def _caption(example: ExampleCase, run: Record) -> Html:
    """Return role, id, Dice and tumour volume of a case."""
    final, before = (part["validation"][example.case] for part in (run.final, run.before))
    text = f", tumour Dice {final['dice']['tumour']:.3f}"
    if "before" in example.masks and before["dice"]["tumour"] is not None:
        text += f" ({before['dice']['tumour']:.3f} before fine-tuning)"
    if (ml := tumour_ml(final)) is not None:
        text += f", tumour volume {ml:.1f} ml"
    if (step := np.diff(example.z).max(initial=1)) > 1:
        text += f"; 1 of every {step} slices"
    return join(el("b", f"{example.role.capitalize()}: {example.case}"), text)


def slice_viewer(
    example: ExampleCase, name: str, caption: Html, images: dict[str, int]
) -> tuple[Html, dict[str, Any]]:
    """Return the viewer of a case and the data for its script.

    ``name`` is an element id, unique on the page. ``images`` maps each image of the page, as a data URI,
    to its index; the slices of the case are added, so that runs share equal slices.
    """
    uris = [data_uri(image, ".webp", WEBP) for image in example.image]
    place = f"slice {example.z[example.start] + 1}"
    masks = {mask: volume[example.start] for mask, volume in example.masks.items()}
    text = f"{example.case}, {place}, with the outlines of the labels"
    stage = outlined(uris[example.start], masks, text)
    slider = el(
        "input", type="range", min=0, max=len(uris) - 1, value=example.start, step=1,
        id=f"{name}-slice", aria_label=f"Slice of {example.case}, {example.role} case",
    )  # fmt: skip
    output = el("output", place, for_=f"{name}-slice")
    larger = el("button", "Larger", type="button", class_="larger")
    parts = (stage, el("div", slider, output, larger, class_="controls"), el("figcaption", caption))
    figure = el("figure", *parts, class_="viewer", id=name, data_case=example.case)
    data = {
        "width": example.image.shape[2],
        "height": example.image.shape[1],
        "z": (example.z + 1).tolist(),
        "images": [images.setdefault(uri, len(images)) for uri in uris],
        "masks": {mask: [encode_mask(m) for m in volume] for mask, volume in example.masks.items()},
    }
    return figure, data


def attention(showcases: Sequence[RowShowcase]) -> Html | None:
    """Return the attention maps of all rows with attention gates; None if there are none."""
    parts: list[Html] = []
    for title, _, cases, _ in showcases:
        if gated := [example for example in cases if example.gates]:
            parts += [el("h3", title), *map(gate_maps, gated)]
    if not parts:
        return None
    text = (
        "Coefficients by which each attention gate multiplies its skip connection, on the slice with "
        "the largest tumour area. Gate 1 is the deepest. Each map is scaled from its lowest to its "
        "highest value; the caption states this range. The outline is the truth."
    )
    scale = el("span", class_="scale", role="img", aria_label="colours from dark blue to yellow")
    return join(el("p", text), el("p", "lowest ", scale, " highest"), *parts)


def gate_maps(example: ExampleCase) -> Html:
    """Return the slice with the largest tumour area beside the coefficients of each attention gate."""
    masks = {name: example.masks[name][example.start] for name in ("truth", "prediction")}
    uri = data_uri(example.image[example.start], ".webp", WEBP)
    picture = outlined(uri, masks, f"{example.case}, slice {example.z[example.start] + 1}")
    figures = [el("figure", picture, el("figcaption", "CT with truth and prediction"))]
    del masks["prediction"]
    for number, (gate, grid) in enumerate(zip(example.gates, example.grids, strict=True), 1):
        values = gate.astype(np.float32)
        low, high = float(values.min()), float(values.max())
        scaled = np.rint(255 * (values - low) / max(high - low, 1e-9)).astype(np.uint8)
        heat = cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS)
        text = f"Coefficients of gate {number} on this slice, from {low:.2f} to {high:.2f}"
        picture = outlined(data_uri(heat, ".png"), masks, text, "heat")
        size = f" ({grid[0]} × {grid[1]}): {low:.2f} – {high:.2f}"
        figures.append(el("figure", picture, el("figcaption", el("b", f"Gate {number}"), size)))
    title = el("h4", f"{example.role.capitalize()} case: {example.case}")
    return join(title, el("div", *figures, class_="gates"))


def outlined(uri: str, masks: Mapping[str, Pixels], text: str, class_: str | None = None) -> Html:
    """Return an image below the outlines of the official regions in ``masks`` ``[H, W]``."""
    height, width = masks["truth"].shape
    paths = (
        el("path", d=outline_path(masks[name] >= lowest), class_=f"outline {name} {region}")
        for name in MASKS
        if name in masks
        for region, lowest in LOWEST_CLASS.items()
    )
    box = f"0 0 {width} {height}"
    layer = el("svg", *paths, viewBox=box, aria_hidden="true", preserveAspectRatio="none")
    image = el("img", src=uri, width=width, height=height, class_=class_, alt=text)
    return el("div", image, layer, class_="stage")


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
            for start, stop in steps.reshape(-1, 2):
                parts.append(form.format(line=line, start=start, stop=stop))
    return "".join(parts)
