"""Outlines of masks on slices: their paths, their look, and the boxes that switch them."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from kitsseg.data.labels import Labels
from kitsseg.reporting.formats import words
from kitsseg.reporting.html.markup import Html, el
from kitsseg.reporting.showcase import ExampleCase

# In drawing order: the truth is on top.
MASKS = ("before", "prediction", "truth")
# With colours for classes, the masks have different kinds of lines: (style of a box, dashes).
LINES = {"truth": ("solid", "none"), "prediction": ("dashed", "6 4"), "before": ("dotted", "1.5 3")}


def colours_are_of_masks(labels: Labels) -> bool:
    """Return whether colours distinguish truth and prediction; otherwise they distinguish classes.

    True if Table 1 has at most two regions, which differ in line width, and the labels set no colours.
    """
    return len(labels.table_regions) <= 2 and not labels.colours


def shapes(labels: Labels) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return title and class ids of each region of Table 1, or of each class, by CSS class."""
    if colours_are_of_masks(labels):
        found = labels.table_regions
        return {region: (f"{words(region)} (thin lines)", labels.ids(region)) for region in found}
    classes = enumerate(labels.classes[1:], 1)
    return {f"class-{number}": (words(name), (number,)) for number, name in classes}


def style(labels: Labels) -> str:
    """Return the style of `shapes`, in addition to ``style.css``."""
    lines = [f".hide-{shape} .outline.{shape} {{ display: none; }}" for shape in shapes(labels)]
    if colours_are_of_masks(labels):
        for region in (region for region in labels.table_regions if region != labels.target):
            lines.append(f"#outlines i.{region} {{ border-top-width: 1px; }}")
            lines.append(f".outline.{region} {{ stroke-width: 1; }}")
        return "\n".join(lines)
    for shape, (_, (number,)) in shapes(labels).items():
        lines.append(f"#outlines .{shape}, .outline.{shape} {{ --o: {labels.colour(number)}; }}")
    for mask, (line, dashes) in LINES.items():
        lines.append(f"#outlines i.{mask} {{ --o: var(--text); border-top-style: {line}; }}")
        lines.append(f".outline.{mask} {{ stroke-dasharray: {dashes}; }}")
    return "\n".join(lines)


def boxes(labels: Labels) -> list[Html]:
    """Return a check box for each mask, and for each shape that can be hidden."""
    names = {mask: mask for mask in reversed(MASKS)} | {"before": "before fine-tuning"}
    names |= {shape: name for shape, (name, _) in shapes(labels).items() if shape != labels.target}
    found = []
    for value, name in names.items():
        # "before" is off initially, since it covers the others.
        box = el("input", type="checkbox", value=value, checked=value != "before")
        found.append(el("label", box, el("i", class_=value, aria_hidden="true"), name))
    return found


def outlines(
    example: ExampleCase, at: int, labels: Labels, names: Sequence[str] = MASKS
) -> dict[str, str]:
    """Return the paths of all shapes on a slice by CSS class, such as ``truth.kidney``."""
    paths = {}
    for name in (name for name in names if name in example.masks):
        mask = example.masks[name][at]
        present = set(np.unique(mask).tolist())
        for shape, (_, ids) in shapes(labels).items():
            paths[f"{name}.{shape}"] = outline_path(np.isin(mask, ids)) if present & set(ids) else ""
    return paths


def outline_path(inside: npt.NDArray[np.bool_]) -> str:
    """Return an SVG path along the pixel edges of the region ``inside`` ``[H, W]``."""
    # Each of the 2 x 2 parts of a pixel stands for the pixel's corner at that side.
    parts = inside.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    path = ""
    for contour in cv2.findContours(parts, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0]:
        corners = (contour[:, 0] + 1) // 2
        steps = np.diff(corners, axis=0)
        steps = steps[steps.any(axis=1)]
        path += f"M{corners[0, 0]} {corners[0, 1]}l{' '.join(map(str, steps.ravel().tolist()))}z"
    return path
