"""Read the files of one case and report its properties and problems."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from kitsseg.data.case import CLINICAL_NAME, Case
from kitsseg.data.case_statistics import pixels_by_slice
from kitsseg.data.io.nifti.header import ORIENTATION
from kitsseg.data.io.nifti.read import Image, LabelVolume, check_same_grid, read_label_volume
from kitsseg.data.io.read_scan import read_image
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.sources.kits import missing_files
from kitsseg.system.obstacles import is_file

SPACING_TOLERANCE_MM = 1e-3
OK, BAD, TEST = "ok", "bad", "test"
COLUMNS = ("case", "state", "slices x H x W", "spacing mm", "HU")  # then the classes, then "stored as"


@dataclass
class Finding:
    """The result of inspecting a case. Properties are None if no file can be read."""

    id: str
    state: str = OK  # or BAD, or TEST for a test case without a label
    problems: list[str] = field(default_factory=list)  # why the case cannot be used
    notes: list[str] = field(default_factory=list)  # unusual properties that are handled
    shape: tuple[int, int, int] | None = None  # (slices, H, W)
    spacing_mm: tuple[float, float, float] | None = None  # along these axes
    axes: str | None = None  # orientation of the stored image, such as IPL
    dtype: str | None = None  # of the stored image
    range_hu: tuple[int, int] | None = None
    ml: dict[str, float] | None = None  # volume of each class except the background

    @contextmanager
    def noting_errors(self) -> Iterator[None]:
        """Add a `ValueError` that the block raises to the problems."""
        try:
            yield
        except ValueError as error:
            self.problems.append(str(error))


def inspect(
    case: Case,
    published_mm: Mapping[str, list[float]] = MappingProxyType({}),
    labels: Labels = KITS19,
) -> Finding:
    """Read each file of a case once and return the finding.

    ``published_mm`` are the spacings in ``kits.json`` by case, ascending.
    """
    finding = Finding(case.id, problems=missing_files(case))
    image = truth = None
    if is_file(case.image):
        with finding.noting_errors():
            image = read_image(case.image, case.offset_hu, case.remedy)
    if case.label is not None and is_file(case.label):
        with finding.noting_errors():
            truth = read_label_volume(case.label, case.stored, case.remedy)
    if image is not None:
        _inspect_image(case, image, published_mm.get(case.id), finding)
    if truth is not None:
        _inspect_truth(case, truth, finding, labels)
    if image is not None and truth is not None:
        with finding.noting_errors():
            check_same_grid(case.truth, truth.layout, image.layout)
    finding.state = BAD if finding.problems else TEST if truth is None else OK
    return finding


def read_published_spacing(folder: Path) -> tuple[dict[str, list[float]], str | None]:
    """Return each case's ascending spacings from ``kits.json``, and the problem of that file."""
    path = folder / CLINICAL_NAME
    if not path.is_file():
        return {}, None
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
        return {entry["case_id"]: mm for entry in entries if (mm := _spacing(entry))}, None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return {}, f"{path}: is not a list of KiTS cases ({error!r}); fetch it again"


def _spacing(entry: Mapping[str, Any]) -> list[float]:
    # KiTS19 stores voxel_spacing; KiTS21 and KiTS23 store pixel width and slice thickness.
    if isinstance(named := entry.get("voxel_spacing"), Mapping):
        return sorted(float(mm) for mm in named.values())
    width, thickness = entry.get("captured_pixel_width"), entry.get("captured_slice_thickness")
    return [] if width is None or thickness is None else sorted(map(float, (width, width, thickness)))


def _inspect_image(case: Case, image: Image, published_mm: list[float] | None, finding: Finding) -> None:
    layout = image.layout
    finding.shape, finding.spacing_mm = layout.turned_shape, layout.spacing_mm
    finding.axes, finding.range_hu = layout.axes, image.range_hu
    finding.dtype = str(layout.dtype) + ("" if layout.scaling is None else " scaled")
    if published_mm and not finding.problems:
        ascending = sorted(layout.spacing_mm)
        if not np.allclose(ascending, published_mm, rtol=0, atol=SPACING_TOLERANCE_MM):
            says = f"has a spacing of {layout.spacing_mm} mm, but {CLINICAL_NAME} says {published_mm}"
            finding.problems.append(f"{case.image}: {says}; {case.remedy}")
    if layout.axes != "".join(ORIENTATION):
        finding.notes.append("reoriented on reading")
    finding.notes += image.warnings


def _inspect_truth(case: Case, truth: LabelVolume, finding: Finding, labels: Labels) -> None:
    voxels = pixels_by_slice(truth.label, len(labels.classes)).sum(axis=0)
    volumes_ml = [round(int(count) * truth.layout.voxel_ml, 3) for count in voxels]
    finding.ml = dict(zip(labels.classes[1:], volumes_ml[1:], strict=True))
    if finding.shape is None:
        finding.shape, finding.spacing_mm = truth.layout.turned_shape, truth.layout.spacing_mm
    has_target, others = voxels[list(labels.ids(labels.target))].any(), labels.other_classes
    if not voxels[1:].any():
        finding.problems.append(f"{case.label}: contains background only; {case.remedy}")
    elif not has_target:
        finding.notes.append(f"no {labels.target}")
    elif others and not any(finding.ml[name] for name in others):
        finding.notes.append(f"{labels.target} without {' or '.join(others)}")


def format_table(findings: list[Finding], labels: Labels = KITS19) -> str:
    """Return an aligned table with one row per case."""
    columns = [*COLUMNS, *(f"{name} ml" for name in labels.classes[1:]), "stored as"]
    rows = [columns, *(_row(finding, len(labels.classes) - 1) for finding in findings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _row(finding: Finding, classes: int) -> tuple[str, ...]:
    unknown, spacing_mm = "–", finding.spacing_mm
    shape = unknown if finding.shape is None else " x ".join(map(str, finding.shape))
    spacing = unknown if spacing_mm is None else " ".join(f"{mm:.4g}" for mm in spacing_mm)
    hu = unknown if finding.range_hu is None else "{} to {}".format(*finding.range_hu)
    ml = [unknown] * classes if finding.ml is None else [f"{value:.1f}" for value in finding.ml.values()]
    stored = unknown if finding.axes is None else f"{finding.axes} {finding.dtype}"
    stored += f" ({'; '.join(finding.notes)})" if finding.notes else ""
    return finding.id, finding.state, shape, spacing, hu, *ml, stored
