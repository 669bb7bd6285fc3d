"""Clean label volumes by the size and position of the connected components of regions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kitsseg.data.bounding_box import bounding_box
from kitsseg.data.labels import BACKGROUND, KITS19, Labels
from kitsseg.data.suggestions import suggestion
from kitsseg.evaluation.lesions import components, reach
from kitsseg.evaluation.surface import nearest_mm

Label = NDArray[np.uint8]


@dataclass(frozen=True)
class Rules:
    """Which components of a region are removed. `ValueError` is raised for values out of range.

    The voxels of a removed component get the lowest class outside the region that it touches, otherwise
    background.
    """

    largest: int | None = None  # number of largest components to keep; None keeps all
    min_ml: float = 0  # remove smaller components
    within_mm: float | None = None  # largest distance to another class; None: no limit

    def __post_init__(self) -> None:
        if self.largest is not None and (self.largest < 1 or self.largest % 1):
            raise ValueError(
                f"largest={self.largest}: must be an integer of at least 1, or null for all"
            )
        _check_size("min_ml", self.min_ml)
        if self.within_mm is not None:
            _check_size("within_mm", self.within_mm)


@dataclass(frozen=True)
class PostProcessing:
    """Apply the rules of each region, in the order of ``regions``, then fill holes.

    ``regions`` holds the arguments of `Rules` by name of the region, such as
    ``{"kidney": {"largest": 2}}``. `ValueError` is raised for unknown names and values out of range.
    """

    regions: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    max_hole_ml: float = 0  # fill holes up to this volume
    rules: dict[str, Rules] = field(init=False, repr=False, default_factory=dict)  # by region

    def __post_init__(self) -> None:
        _check_size("max_hole_ml", self.max_hole_ml)
        for region, settings in self.regions.items():
            options = list(Rules.__annotations__)
            for name in set(settings) - set(options):
                remedy = suggestion(name, options)
                raise ValueError(f"regions.{region}.{name}={settings[name]}: no such rule{remedy}")
            try:
                self.rules[region] = Rules(**settings)  # type: ignore[arg-type]
            except ValueError as error:
                raise ValueError(f"regions.{region}.{error}") from None

    def check(self, labels: Labels) -> None:
        """Raise `ValueError` if the labels lack a region, or have no class outside one that needs it."""
        for region, rules in self.rules.items():
            key = f"postprocess.regions.{region}"
            if region not in labels.regions:
                remedy = suggestion(region, labels.regions, "postprocess.regions.")
                if not remedy.endswith("?"):
                    remedy += "; set postprocess=regions and rules for your regions"
                raise ValueError(f"{key}: the labels have no such region{remedy}")
            contains_all = {*labels.regions[region]} == {*labels.classes[1:]}
            if rules.within_mm is not None and contains_all:
                raise ValueError(f"{key}.within_mm: the region contains all classes; set it to null")

    def __call__(self, label: Label, spacing_mm: Sequence[float], labels: Labels = KITS19) -> Label:
        """Return a cleaned copy of ``label``. ``spacing_mm`` is the spacing (slices, rows, columns)."""
        out = label.copy(order="K")
        box = bounding_box(label)  # no rule changes voxels outside it
        if box is None:
            return out
        part = np.ascontiguousarray(label[box])
        for region, rules in self.rules.items():
            if rules != Rules():
                part = apply_rules(part, spacing_mm, labels.mask(part, region), rules)
        if self.max_hole_ml > 0:
            part = fill_holes(part, self.max_hole_ml / _voxel_ml(spacing_mm))
        out[box] = part
        return out


def apply_rules(
    label: Label, spacing_mm: Sequence[float], mask: NDArray[np.bool_], rules: Rules
) -> Label:
    """Return a label volume ``[S, H, W]`` without the components of ``mask`` that the rules remove."""
    others = (label != BACKGROUND) & ~mask
    numbers, sizes = components(mask)
    keep = reach(sizes, rules.min_ml, _voxel_ml(spacing_mm))
    if rules.within_mm is not None:
        keep &= _near(numbers, len(sizes), others, spacing_mm, rules.within_mm)
    if rules.largest is not None:
        keep[np.argsort(-np.where(keep, sizes, 0), kind="stable")[int(rules.largest) :]] = False
    keep[0] = True
    if keep.all():
        return label
    becomes = np.zeros(len(sizes), np.uint8)
    for class_id in np.unique(label[others])[::-1]:
        becomes[_touching(numbers, label == class_id)] = class_id
    return np.where(keep[numbers], label, becomes[numbers])


def _near(
    numbers: NDArray[Any], count: int, others: NDArray[np.bool_], spacing_mm: Sequence[float], mm: float
) -> NDArray[np.bool_]:
    """Return which components touch a voxel of ``others`` or lie within ``mm`` of one, by centres."""
    near = np.zeros(count, bool)
    near[_touching(numbers, others)] = True
    # Distances start at voxels with a face on the outside.
    edges = (mask & ~ndimage.binary_erosion(mask) for mask in (others, numbers > 0))
    other, own = (np.argwhere(edge) for edge in edges)
    own = own[~near[numbers[tuple(own.T)]]]
    if len(other) and len(own):
        close = nearest_mm(own, other, spacing_mm) <= mm
        near[numbers[tuple(own[close].T)]] = True
    return near


def fill_holes(label: Label, max_voxels: float) -> Label:
    """Fill holes of up to ``max_voxels`` with the class that shares most faces with them.

    A hole is a 6-connected component of background that does not reach the border. Of equal numbers of
    faces, the lowest class counts.
    """
    padded = np.pad(label, 1)
    # The consistent pair in digital topology: 26-connected objects and 6-connected cavities.
    numbers, sizes = components(padded == BACKGROUND, connectivity=6)
    hole = sizes <= max_voxels
    hole[[0, numbers[0, 0, 0]]] = False
    inside = np.argwhere(hole[numbers])
    faces = np.zeros((len(sizes), int(label.max(initial=1)) + 1), np.int64)
    for step in (*np.eye(3, dtype=int), *-np.eye(3, dtype=int)):
        beside = padded[tuple((inside + step).T)]
        np.add.at(faces, (numbers[tuple(inside.T)], beside), 1)
    becomes = (faces[:, 1:].argmax(1) + 1).astype(np.uint8)
    return np.where(hole[numbers], becomes[numbers], padded)[1:-1, 1:-1, 1:-1]


def _check_size(name: str, value: float | None) -> None:
    if value is None or not 0 <= value < float("inf"):
        raise ValueError(f"{name}={value}: must be at least 0 and finite")


def _voxel_ml(spacing_mm: Sequence[float]) -> float:
    return float(np.prod(spacing_mm)) / 1000


def _touching(numbers: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the numbers of the components that touch ``mask``, corners included."""
    near = ndimage.maximum_filter(mask, 3, mode="constant")  # a 3 x 3 x 3 dilation, axis by axis
    return np.unique(numbers[near & (numbers > 0)])
