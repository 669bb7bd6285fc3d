"""Report sections with images: example cases with a slice slider, and attention maps."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kitsseg.data.labels import Labels
from kitsseg.reporting import showcase
from kitsseg.reporting.formats import words
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.html.outlines import MASKS, boxes, outlines
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.showcase import ExampleCase
from kitsseg.reporting.sites.exchange import case_at
from kitsseg.reporting.strata import true_ml
from kitsseg.reporting.table_rows import Row

# Total number of slices on the page and least number per case; they limit the size of the file.
MAX_SLICES, MIN_SLICES_PER_CASE = 480, 12
WEBP = (cv2.IMWRITE_WEBP_QUALITY, 60)
# Title, run, its example cases, and the problem that prevents showing them, if any.
RowShowcase = tuple[str, Record, list[ExampleCase], str]


def find_showcases(rows: Sequence[Row], folders: Mapping[int, Path]) -> list[RowShowcase]:
    """Return the example cases of each row's first run that has any; ``folders`` by ``id(record)``."""
    found: list[RowShowcase] = []
    for row in rows:
        for run in row.runs:
            try:
                found_cases = showcase.read(folders[id(run)])
                cases = [replace(each, case=case_at(run.site, each.case)) for each in found_cases]
                problem = ""
            except ValueError as error:
                cases, problem = [], str(error)
            if cases or problem:
                found.append((f"{row.label}, seed {run.seed}", run, cases, problem))
                break
    return found


def slice_viewers(showcases: Sequence[RowShowcase], labels: Labels) -> tuple[list[Html], dict[str, Any]]:
    """Return the viewers of all example cases and the data for their script."""
    images: dict[str, int] = {}
    data: dict[str, Any] = {}
    parts = []
    count = sum(len(cases) for _, _, cases, _ in showcases)
    max_slices = max(MIN_SLICES_PER_CASE, MAX_SLICES // max(1, count))
    for number, (title, run, cases, problem) in enumerate(showcases):
        figures = []
        for example in cases:
            name = f"view-{number}-{example.role}"
            figure, data[name] = slice_viewer(example, name, run, labels, images, max_slices)
            figures.append(figure)
        note = el("p", problem, class_="note") if problem else None
        parts.append(join(el("h3", title), note, el("div", *figures, class_="viewers")))
    if not data:
        return parts, {}
    text = (
        f"Cases are chosen by {words(labels.target)} Dice after the last stage. Change slices with the "
        "slider or the arrow keys, or click an image and scroll. Intensities are windowed as for the "
        "network. Slices run from head to foot, viewed from the feet: the patient's left is on the "
        "right."
    )
    switches = el("fieldset", el("legend", "Outlines"), *boxes(labels), id="outlines")
    return [el("p", text), switches, *parts], {"images": list(images), "viewers": data}


def slice_viewer(
    example: ExampleCase, name: str, run: Record, labels: Labels, images: dict[str, int], max_slices: int
) -> tuple[Html, dict[str, Any]]:
    """Return the viewer of about ``max_slices`` slices of a case and the data for its script.

    ``name`` is an element id, unique on the page. ``images`` maps each image of the page, as a data URI,
    to its index; the slices of the case are added, so that runs share equal slices.
    """
    step = -(-len(example.z) // max_slices)
    chosen = range(example.start % step, len(example.z), step)  # includes the start
    z = [int(example.z[at]) + 1 for at in chosen]
    uris = [data_uri(example.image[at], ".webp", WEBP) for at in chosen]
    drawn = [outlines(example, at, labels) for at in chosen]
    start = example.start // step
    text = f"{example.case}, slice {z[start]}, with the outlines of the labels"
    slider = el(
        "input", type="range", min=0, max=len(z) - 1, value=start, step=1,
        id=f"{name}-slice", aria_label=f"Slice of {example.case}, {example.role} case",
    )  # fmt: skip
    output = el("output", f"slice {z[start]}", for_=f"{name}-slice")
    larger = el("button", "Larger", type="button", class_="larger")
    controls = el("div", slider, output, larger, class_="controls")
    caption = el("figcaption", *_caption(example, run, np.diff(z).max(initial=1)))
    stage = outlined(uris[start], example, drawn[start], text)
    figure = el("figure", stage, controls, caption, class_="viewer", id=name, data_case=example.case)
    numbers = [images.setdefault(uri, len(images)) for uri in uris]
    return figure, {"z": z, "images": numbers, "outlines": drawn}


def _caption(example: ExampleCase, run: Record, step: int) -> tuple[Html, str]:
    """Return role and id of a case, and Dice and volume of its target region."""
    target = run.label_set.target
    final, before = (part["validation"][example.case] for part in (run.final, run.before))
    text = f", {words(target)} Dice {final['dice'][target]:.3f}"
    if "before" in example.masks and before["dice"][target] is not None:
        text += f" ({before['dice'][target]:.3f} before fine-tuning)"
    if (ml := true_ml(final, target)) is not None:
        text += f", {words(target)} volume {ml:.1f} ml"
    if step > 1:
        text += f"; 1 of every {step} slices"
    return el("b", f"{example.role.capitalize()}: {example.case}"), text


def attention(showcases: Sequence[RowShowcase], labels: Labels) -> Iterator[Html]:
    """Yield the attention maps of all rows with attention gates."""
    parts: list[Html] = []
    for title, _, cases, _ in showcases:
        if gated := [example for example in cases if example.gates]:
            parts += [el("h3", title), *(gate_maps(example, labels) for example in gated)]
    if parts:
        text = (
            "Coefficients by which each attention gate multiplies its skip connection, on the slice "
            f"with the largest {words(labels.target)} area. Gate 1 is the deepest. Each map is scaled "
            "from its lowest to its highest value; the caption states this range. The outline is the "
            "truth."
        )
        scale = el("span", class_="scale", role="img", aria_label="colours from dark blue to yellow")
        yield join(el("p", text), el("p", "lowest ", scale, " highest"), *parts)


def gate_maps(example: ExampleCase, labels: Labels) -> Html:
    """Return the slice with the largest target area beside the coefficients of each attention gate."""
    at, title = example.start, f"{example.role.capitalize()} case: {example.case}"
    uri, drawn = data_uri(example.image[at], ".webp", WEBP), outlines(example, at, labels, MASKS[1:])
    picture = outlined(uri, example, drawn, f"{example.case}, slice {example.z[at] + 1}")
    figures = [el("figure", picture, el("figcaption", "CT with truth and prediction"))]
    truth = outlines(example, at, labels, ("truth",))
    for number, (gate, (rows, columns)) in enumerate(zip(example.gates, example.grids, strict=True), 1):
        values = gate.astype(np.float32)
        low, high = float(values.min()), float(values.max())
        scaled = np.rint(255 * (values - low) / max(high - low, 1e-9)).astype(np.uint8)
        heat = data_uri(cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS), ".png")
        text = f"Coefficients of gate {number} on this slice, from {low:.2f} to {high:.2f}"
        size = f" ({rows} × {columns}): {low:.2f} – {high:.2f}"
        caption = el("figcaption", el("b", f"Gate {number}"), size)
        figures.append(el("figure", outlined(heat, example, truth, text, "heat"), caption))
    return join(el("h4", title), el("div", *figures, class_="gates"))


def outlined(
    uri: str, example: ExampleCase, drawn: Mapping[str, str], text: str, class_: str | None = None
) -> Html:
    """Return an image of the case below outlines of `outlines`."""
    height, width = example.image.shape[1:]
    paths = (el("path", d=d, class_=f"outline {name.replace('.', ' ')}") for name, d in drawn.items())
    box = f"0 0 {width} {height}"
    layer = el("svg", *paths, viewBox=box, aria_hidden="true", preserveAspectRatio="none")
    image = el("img", src=uri, width=width, height=height, class_=class_, alt=text)
    return el("div", image, layer, class_="stage")


def data_uri(image: Any, extension: str, options: Sequence[int] = ()) -> str:
    """Return an image ``[H, W]`` or ``[H, W, 3]`` uint8 as a data URI."""
    success, encoded = cv2.imencode(extension, image, options)
    assert success, f"{extension} of {image.shape}"
    return f"data:image/{extension[1:]};base64,{base64.b64encode(encoded.tobytes()).decode()}"
