"""Check the description of a network in a checkpoint or ONNX file, which is untrusted input."""

from math import prod
from typing import Any

from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.store.grid import DIVISOR
from kitsseg.data.store.volume_grid import INTERPOLATIONS
from kitsseg.models.window import Window
from kitsseg.system.library_messages import error_line

FORMAT = 1
# Limits far above real networks; larger values could exhaust memory.
MAX_SIZE, MAX_NEIGHBOURS, MAX_PATCH_VOXELS, MAX_HU = 4096, 32, 1 << 25, 1 << 20
MIN_MM, MAX_MM, MAX_PIXEL_MM = 0.1, 100, 16384


def parse_description(description: Any, *more: str) -> dict[str, Any]:
    """Return the checked values of a description, without network and window.

    They have the names of `kitsseg.inference.checkpoint.Loaded`. Raises `ValueError` if the format is
    unknown, if a value is out of range, or if one or a key of ``more`` is missing.
    """
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError(
            f"no description of format {FORMAT} under 'kitsseg'; train with kitsseg.train, or pass "
            "header= to SegmentationTask"
        )
    names = ("size", "neighbours", "classes", "provenance")
    if missing := {*names, *more} - set(description):
        raise ValueError(f"the description lacks {', '.join(sorted(missing))}; train again")
    size, neighbours, classes, provenance = (description[name] for name in names)
    if size is not None and not (type(size) is int and DIVISOR <= size <= MAX_SIZE):
        raise ValueError(f"size={size!r}: must be in [{DIVISOR}, {MAX_SIZE}] or be None")
    if not (type(neighbours) is int and 0 <= neighbours <= MAX_NEIGHBOURS):
        raise ValueError(f"neighbours={neighbours!r}: must be in [0, {MAX_NEIGHBOURS}]")
    labels = _parse_labels(description.get("labels"))
    if classes != list(labels.classes):
        raise ValueError(f"classes={classes!r} must be {list(labels.classes)}")
    if not isinstance(provenance, dict):
        raise ValueError("provenance must be a dict; train again")
    patch, spacing_mm = _parse_patch(description.get("patch"), description.get("spacing_mm"))
    interpolation = description.get("interpolation", "linear")  # missing in older files
    if interpolation not in INTERPOLATIONS:
        limit = " or ".join(INTERPOLATIONS)
        raise ValueError(f"interpolation={interpolation!r:.200}: must be {limit}")
    if patch is not None and (size, neighbours) != (None, 0):
        raise ValueError(f"patch={patch}: a 3D network has size=None and neighbours=0")
    about: dict[str, Any] = {
        "size": size, "neighbours": neighbours, "provenance": provenance, "labels": labels,
        "patch": patch, "spacing_mm": spacing_mm, "interpolation": interpolation,
    }  # fmt: skip
    mm = description.get("pixel_mm")  # missing in older files
    if isinstance(mm, list) and len(mm) == 2 and all(type(value) in (int, float) for value in mm):
        about["pixel_mm"] = (float(mm[0]), float(mm[1])) if 0 < mm[0] <= mm[1] < MAX_PIXEL_MM else None
    return about


def _parse_labels(values: Any) -> Labels:
    if values is None:  # of an older file
        return KITS19
    try:
        return Labels(**values)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"labels: {error_line(error)}") from error


def _parse_patch(patch: Any, spacing_mm: Any) -> tuple[Any, Any]:
    """Return the patch of a 3D network and its spacing as tuples or None; older files have neither."""
    if patch is not None and not (
        isinstance(patch, (list, tuple)) and len(patch) == 3
        and all(type(side) is int and side > 0 for side in patch) and prod(patch) <= MAX_PATCH_VOXELS
    ):  # fmt: skip
        limit = f"three sides with at most {MAX_PATCH_VOXELS} voxels"
        raise ValueError(f"patch={patch!r:.200}: must be {limit}, or None for a 2D network")
    if spacing_mm is not None and not (
        isinstance(spacing_mm, (list, tuple)) and len(spacing_mm) == 3 and patch is not None
        and all(type(mm) in (int, float) and MIN_MM <= mm <= MAX_MM for mm in spacing_mm)
    ):  # fmt: skip
        limit = f"three numbers in [{MIN_MM}, {MAX_MM}] of a 3D network"
        raise ValueError(f"spacing_mm={spacing_mm!r:.200}: must be {limit}, or None")
    return (
        None if patch is None else tuple(patch),
        None if spacing_mm is None else tuple(map(float, spacing_mm)),
    )


def parse_window(window: Any) -> Window:
    """Return the window with these settings, or raise `ValueError`."""
    if not isinstance(window, dict) or not all(
        type(value) in (int, float) and abs(value) < MAX_HU for value in window.values()
    ):
        raise ValueError(f"window={window!r}: the values must be finite numbers")
    try:
        return Window(**window)
    except TypeError as error:
        raise ValueError(f"window={window!r}: not the arguments of Window ({error})") from error
