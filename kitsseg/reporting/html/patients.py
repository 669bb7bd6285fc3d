"""The sections that show patients: cases to scroll through, and what attention gates let through."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kitsseg.reporting import showcase
from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.html.slices import Images, gate_maps, thin, viewer
from kitsseg.reporting.showcase import Shown
from kitsseg.reporting.table_rows import Row, Run

# Of all cases together, and of a case at least: a page of many rows stays one that can be sent.
MOST_SLICES, LEAST_SLICES = 480, 12
OUTLINES = (
    ("truth", "truth"),
    ("prediction", "prediction"),
    ("before", "before fine-tuning"),
    ("kidney", "kidney (thin lines)"),
)


@dataclass(frozen=True)
class Showcase:
    """The cases of one of a row's runs, or why they can't be shown."""

    row: Row
    run: Run
    cases: list[Shown]
    problem: str

    @property
    def title(self) -> str:
        return f"{self.row.label}, seed {self.run.seed}"


def find(rows: Sequence[Row], folders: Mapping[int, Path]) -> list[Showcase]:
    """Of each row the first run that has cases to show.

    Args:
        folders: of runs, by their ``id``.
    """
    found = []
    for row in rows:
        for run in row.runs:
            try:
                cases, problem = showcase.read(folders[id(run)]), ""
            except ValueError as error:
                cases, problem = [], str(error)
            if cases or problem:
                found.append(Showcase(row, run, cases, problem))
                break
    return found


def viewers(found: Sequence[Showcase]) -> tuple[Html | None, dict[str, Any]]:
    """Cases to scroll through, and the data of their script."""
    images, data, parts = Images(), {}, []
    most = max(LEAST_SLICES, MOST_SLICES // max(1, sum(len(each.cases) for each in found)))
    for number, each in enumerate(found):
        parts.append(el("h3", each.title))
        if each.problem:
            parts.append(el("p", each.problem, class_="note"))
        figures = []
        for whole in each.cases:
            shown, name = thin(whole, most), f"view-{number}-{whole.role}"
            figure, data[name] = viewer(shown, name, _caption(shown, each.run), images)
            figures.append(figure)
        parts.append(el("div", *figures, class_="viewers"))
    if not data:
        return (join(*parts) if parts else None), {}
    boxes = (
        el("label", _box(name), el("i", class_=name, aria_hidden="true"), text)
        for name, text in OUTLINES
    )
    lead = (
        "By tumour Dice after the last stage. Move the slider, use the arrow keys, or click a picture "
        "and turn the wheel. The window is the network's; slices run from head to foot and are seen "
        "from the feet, so the patient's left is on the right."
    )
    choice = el("fieldset", el("legend", "Outlines"), *boxes, id="outlines")
    return join(el("p", lead), choice, *parts), {"images": images.uris, "viewers": data}


def attention(found: Sequence[Showcase]) -> Html | None:
    """What the gates of each row that has gates let through."""
    parts: list[Html] = []
    for each in found:
        gated = [shown for shown in each.cases if shown.gates]
        if gated:
            parts += [el("h3", each.title), *(gate_maps(shown) for shown in gated)]
    if not parts:
        return None
    lead = (
        "The coefficient by which each gate multiplies its skip connection, on the slice with most "
        "tumour; gate 1 is the deepest. Each map has a scale of its own, from its lowest to its "
        "highest value, which stand below it. Outlined is the truth."
    )
    scale = el("span", class_="scale", role="img", aria_label="from dark blue by green to yellow")
    return join(el("p", lead), el("p", "lowest ", scale, " highest"), *parts)


def _box(name: str) -> Html:
    """A switch for outlines; those before fine-tuning are off at first, they hide the others."""
    return el("input", type="checkbox", value=name, checked=name != "before")


def _caption(shown: Shown, run: Run) -> Html:
    """Which case it is, and how well the run did on it."""
    final, before = (part["validation"].get(shown.case, {}) for part in (run.final, run.before))
    parts: list[object] = [el("b", f"{shown.role.capitalize()}: {shown.case}")]
    dice, earlier = (figures.get("dice", {}).get("tumour") for figures in (final, before))
    if dice is not None:
        parts.append(f", tumour Dice {dice:.3f}")
    if "before" in shown.masks and earlier is not None:
        parts.append(f" (before fine-tuning {earlier:.3f})")
    if "voxel_ml" in final:
        parts.append(f", tumour {final['voxels']['tumour'][2] * final['voxel_ml']:.1f} ml")
    step = int(np.diff(shown.z).max(initial=1))
    if step > 1:
        parts.append(f"; one of {step} slices")
    return join(*parts)
