"""Write slices of the best, median and worst validation case of a run for the report."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
from torch import nn

from kitsseg.data.bounding_box import plane_box
from kitsseg.data.io.nifti.read import read_label
from kitsseg.data.slices.datamodule import SliceDataModule
from kitsseg.data.store.grid import Grid
from kitsseg.data.volumes.datamodule import PatchDataModule
from kitsseg.models.window import Window
from kitsseg.reporting.showcase import FOLDER, ExampleCase
from kitsseg.system.files import replacing
from kitsseg.training.attention_maps import attention_maps

MAX_SIDE, MAX_SLICES = 256, 80
# Margin around the labels in slices, and around the body in pixels.
MARGIN_SLICES, MARGIN_PIXELS = 3, 4

Array = npt.NDArray[Any]


def choose_examples(scores: dict[str, dict[str, Any]], region: str) -> dict[str, str]:
    """Return ``{role: case}`` by the Dice of a region: ``best``, ``worst`` and ``median``.

    Each case appears once. Of cases with equal Dice, the one with the larger region ranks lower.
    """
    scored = [
        (values["dice"][region], -values["voxels"][region][2], case)
        for case, values in scores.items()
        if values["dice"][region] is not None
    ]
    if not scored:
        return {}
    order = [case for *_, case in sorted(scored)]
    roles = {"best": order[-1], "worst": order[0], "median": order[(len(order) - 1) // 2]}
    chosen: dict[str, str] = {}
    for role, case in roles.items():
        if case not in chosen.values():
            chosen[role] = case
    return chosen


def select_slices(*masks: Array) -> Array:
    """Return the indices of the slices that contain a label of any mask ``[S, H, W]``, with a margin.

    They are evenly spaced and at most `MAX_SLICES`. Without any label, all slices are candidates.
    """
    marked = np.flatnonzero(np.any([mask.any(axis=(1, 2)) for mask in masks], axis=0))
    slices = len(masks[0])
    first, last = (marked[0], marked[-1]) if len(marked) else (0, slices - 1)
    first, last = max(0, first - MARGIN_SLICES), min(slices - 1, last + MARGIN_SLICES)
    step = -(-(last - first + 1) // MAX_SLICES)
    return np.arange(first, last + 1, step)


def write(
    folder: Path,
    scores: dict[str, dict[str, Any]],
    data: SliceDataModule,
    net: nn.Module,
    window: Window,
    trainer: pl.Trainer,
) -> None:
    """Write the showcase of a run whose predictions are in ``folder/predictions``.

    Args:
        folder: folder of the run.
        scores: metrics of its validation cases after the last stage.
        data: after `setup`.
        net: the trained network in evaluation mode.
        window: maps HU to the input of the network.
        trainer: defines device and precision.
    """
    labels = data.labels
    for role, case in choose_examples(scores, labels.target).items():
        number = data.store.ids.index(case)
        stored = data.store.images(number)
        volumes = _label_volumes(folder / "predictions", case, data)
        if isinstance(data, PatchDataModule):  # slices of the resampled volume
            volumes = {name: data.store.grid(number).fit_label(mask) for name, mask in volumes.items()}
        z = select_slices(*volumes.values())
        masks = {name: mask[z] for name, mask in volumes.items()}
        area = labels.mask(masks["truth"], labels.target).sum((1, 2))
        if not area.any():
            area = labels.mask(masks["prediction"], labels.target).sum((1, 2))
        start = int(area.argmax())
        image = to_grey(np.asarray(stored[z]), window.low_hu, window.high_hu)
        patch = data.plan.patch if isinstance(data, PatchDataModule) else None
        found = attention_maps(net, window, stored, int(z[start]), data.neighbours, patch, trainer)
        gates, grids = [plane for plane, _ in found], [side for _, side in found]
        if isinstance(data, PatchDataModule):
            z = np.asarray((z + 0.5) * data.store.grid(number).native[0] / len(stored), int)
        else:
            masks = {name: data.store.grid(number).fit_label(mask) for name, mask in masks.items()}
        image, masks, gates = _shrink(*_crop(image, masks, gates))
        save(folder / FOLDER, ExampleCase(role, case, z, image, masks, start, gates, grids))


def _label_volumes(folder: Path, case: str, data: SliceDataModule) -> dict[str, Array]:
    """Return the truth, the prediction and, for a fine-tuned run, the prediction before fine-tuning."""
    source = data.cases[case]
    files = {"prediction": folder / f"{case}.nii.gz", "before": folder / "before" / f"{case}.nii.gz"}
    own = {number: number for number in range(len(data.labels.classes))}
    predicted = {name: read_label(path, own) for name, path in files.items() if path.is_file()}
    return {"truth": read_label(source.truth, source.stored), **predicted}


def _crop(
    image: Array, masks: dict[str, Array], gates: list[Array]
) -> tuple[Array, dict[str, Array], list[Array]]:
    """Crop slices, masks and maps to the body."""
    body = body_box(image, *masks.values())
    cropped = {name: mask[:, *body] for name, mask in masks.items()}
    return image[:, *body], cropped, [gate[body] for gate in gates]


def _shrink(
    image: Array, masks: dict[str, Array], gates: list[Array]
) -> tuple[Array, dict[str, Array], list[Array]]:
    """Scale slices, masks and maps down to `MAX_SIDE`."""
    if max(image.shape[1:]) <= MAX_SIDE:
        return image, masks, gates
    small = Grid((image.shape[1], image.shape[2]), MAX_SIDE)
    scaled = small.fit_image(image.astype(np.int16))[:, *small.inside].clip(0, 255).astype(np.uint8)
    masks = {name: small.fit_label(mask)[:, *small.inside] for name, mask in masks.items()}
    nearest = cv2.INTER_NEAREST
    return scaled, masks, [cv2.resize(g, small.scaled[::-1], interpolation=nearest) for g in gates]


def to_grey(image_hu: Array, low_hu: float, high_hu: float) -> npt.NDArray[np.uint8]:
    """Map HU to uint8: ``low_hu`` and below to 0, ``high_hu`` and above to 255."""
    share = (image_hu.astype(np.float32) - low_hu) / (high_hu - low_hu)
    grey: npt.NDArray[np.uint8] = np.rint(255 * share.clip(0, 1)).astype(np.uint8)
    return grey


def body_box(image: Array, *masks: Array) -> tuple[slice, slice]:
    """Return the rows and columns of ``[S, H, W]`` that contain more than air, with a margin."""
    box = plane_box(np.any([volume.any(axis=0) for volume in (image, *masks)], axis=0))
    if box is None:
        return slice(None), slice(None)
    rows, columns = (slice(max(0, s.start - MARGIN_PIXELS), s.stop + MARGIN_PIXELS) for s in box)
    return rows, columns


def save(folder: Path, shown: ExampleCase) -> None:
    """Write ``folder/ROLE.npz``."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {f"mask_{name}": mask for name, mask in shown.masks.items()}
    arrays |= {f"gate_{i:02}": gate.astype(np.float16) for i, gate in enumerate(shown.gates)}
    arrays["grids"] = np.array(shown.grids, np.int64).reshape(-1, 2)
    for name in ("role", "case", "z", "image", "start"):
        arrays[name] = getattr(shown, name)
    with replacing(folder / f"{shown.role}.npz") as temporary:
        np.savez_compressed(temporary, **arrays)
