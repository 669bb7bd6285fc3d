"""Report sections with images: example cases with a slice slider, and attention maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kitsseg.reporting import showcase
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.html.slices import Images, gate_maps, slice_viewer, thin
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.showcase import ExampleCase
from kitsseg.reporting.table_rows import Row

# Total number of slices on the page and least number per case; they limit the size of the file.
MAX_SLICES, MIN_SLICES_PER_CASE = 480, 12
OUTLINES = {
    "truth": "truth",
    "prediction": "prediction",
    "before": "before fine-tuning",
    "kidney": "kidney (thin lines)",
}


@dataclass(frozen=True)
class RowShowcase:
    """The example cases of one run of a row, or the problem that prevents showing them."""

    row: Row
    run: Record
    cases: list[ExampleCase]
    problem: str

    @property
    def title(self) -> str:
        return f"{self.row.label}, seed {self.run.seed}"


def find_showcases(rows: Sequence[Row], folders: Mapping[int, Path]) -> list[RowShowcase]:
    """Return the example cases of each row's first run that has any; ``folders`` by ``id(record)``."""
    found = []
    for row in rows:
        for run in row.runs:
            try:
                cases, problem = showcase.read(folders[id(run)]), ""
            except ValueError as error:
                cases, problem = [], str(error)
            if cases or problem:
                found.append(RowShowcase(row, run, cases, problem))
                break
    return found


def slice_viewers(showcases: Sequence[RowShowcase]) -> tuple[Html | None, dict[str, Any]]:
    """Return the viewers of all example cases and the data for their script."""
    images, data, parts = Images(), {}, []
    count = sum(len(s.cases) for s in showcases)
    max_slices = max(MIN_SLICES_PER_CASE, MAX_SLICES // max(1, count))
    for number, s in enumerate(showcases):
        parts.append(el("h3", s.title))
        if s.problem:
            parts.append(el("p", s.problem, class_="note"))
        figures = []
        for whole in s.cases:
            example, name = thin(whole, max_slices), f"view-{number}-{whole.role}"
            figure, data[name] = slice_viewer(example, name, _caption(example, s.run), images)
            figures.append(figure)
        parts.append(el("div", *figures, class_="viewers"))
    if not data:
        return (join(*parts) if parts else None), {}
    boxes = (
        el("label", _checkbox(name), el("i", class_=name, aria_hidden="true"), text)
        for name, text in OUTLINES.items()
    )
    text = (
        "Cases are chosen by tumour Dice after the last stage. Change slices with the slider or the "
        "arrow keys, or click an image and scroll. Intensities are windowed as for the network. Slices "
        "run from head to foot, viewed from the feet: the patient's left is on the right."
    )
    switches = el("fieldset", el("legend", "Outlines"), *boxes, id="outlines")
    return join(el("p", text), switches, *parts), {"images": images.uris, "viewers": data}


def attention(showcases: Sequence[RowShowcase]) -> Html | None:
    """Return the attention maps of all rows with attention gates; None if there are none."""
    parts: list[Html] = []
    for s in showcases:
        if gated := [example for example in s.cases if example.gates]:
            parts += [el("h3", s.title), *map(gate_maps, gated)]
    if not parts:
        return None
    text = (
        "Coefficients by which each attention gate multiplies its skip connection, on the slice with "
        "the largest tumour area. Gate 1 is the deepest. Each map is scaled from its lowest to its "
        "highest value; the caption states this range. The outline is the truth."
    )
    scale = el("span", class_="scale", role="img", aria_label="colours from dark blue to yellow")
    return join(el("p", text), el("p", "lowest ", scale, " highest"), *parts)


def _checkbox(name: str) -> Html:
    """Return the switch of one outline; ``before`` is off initially, since it covers the others."""
    return el("input", type="checkbox", value=name, checked=name != "before")


def _caption(example: ExampleCase, run: Record) -> Html:
    """Return role, id, Dice and tumour volume of a case."""
    final, before = (part["validation"].get(example.case, {}) for part in (run.final, run.before))
    parts: list[object] = [el("b", f"{example.role.capitalize()}: {example.case}")]
    dice, dice_before = (entry.get("dice", {}).get("tumour") for entry in (final, before))
    if dice is not None:
        parts.append(f", tumour Dice {dice:.3f}")
    if "before" in example.masks and dice_before is not None:
        parts.append(f" ({dice_before:.3f} before fine-tuning)")
    if "voxel_ml" in final:
        parts.append(f", tumour volume {final['voxels']['tumour'][2] * final['voxel_ml']:.1f} ml")
    step = int(np.diff(example.z).max(initial=1))
    if step > 1:
        parts.append(f"; 1 of every {step} slices")
    return join(*parts)
