"""Check the description of a network in a checkpoint or ONNX file, which is untrusted input."""

from math import prod
from typing import Any

from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.store.grid import DIVISOR
from kitsseg.data.store.volume_grid import INTERPOLATIONS
from kitsseg.models.window import Window
from kitsseg.system.package_messages import error_line

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
    # Older files lack the following values.
    added: list[Any] = [description.get(name) for name in ("patch", "spacing_mm", "pixel_mm")]
    patch, mm, pixel_mm = added
    interpolation = description.get("interpolation", "linear")
    if interpolation not in INTERPOLATIONS:
        limit = " or ".join(INTERPOLATIONS)
        raise ValueError(f"interpolation={interpolation!r:.200}: must be {limit}")
    is_patch = _are_numbers(patch, 3, 1, MAX_PATCH_VOXELS) and all(type(side) is int for side in patch)
    if patch is not None and not (is_patch and prod(patch) <= MAX_PATCH_VOXELS):
        limit = f"three sides with at most {MAX_PATCH_VOXELS} voxels"
        raise ValueError(f"patch={patch!r:.200}: must be {limit}, or None for a 2D network")
    if mm is not None and (patch is None or not _are_numbers(mm, 3, MIN_MM, MAX_MM)):
        limit = f"three numbers in [{MIN_MM}, {MAX_MM}] of a 3D network"
        raise ValueError(f"spacing_mm={mm!r:.200}: must be {limit}, or None")
    if patch is not None and (size, neighbours) != (None, 0):
        raise ValueError(f"patch={patch}: a 3D network has size=None and neighbours=0")
    is_known = _are_numbers(pixel_mm, 2, 0, MAX_PIXEL_MM) and 0 < pixel_mm[0] <= pixel_mm[1]
    return {
        "size": size, "neighbours": neighbours, "provenance": provenance, "labels": labels,
        "patch": None if patch is None else tuple(patch),
        "spacing_mm": None if mm is None else tuple(map(float, mm)),
        "interpolation": interpolation,
        "pixel_mm": tuple(map(float, pixel_mm)) if is_known else None,
    }  # fmt: skip


def _are_numbers(values: Any, count: int, low: float, high: float) -> bool:
    """Return whether ``values`` holds ``count`` numbers in [``low``, ``high``]."""
    return (
        isinstance(values, (list, tuple))
        and len(values) == count
        and all(type(value) in (int, float) and low <= value <= high for value in values)
    )


def _parse_labels(values: Any) -> Labels:
    if values is None:  # of an older file
        return KITS19
    try:
        return Labels(**values)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"labels: {error_line(error)}") from error


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
