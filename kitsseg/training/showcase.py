"""Saves the best, the median and the worst validation case of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kitsseg.data.labels import TUMOUR
from kitsseg.data.store.grid import DIVISOR, Grid
from kitsseg.reporting.showcase import FOLDER, ExampleCase
from kitsseg.system.files import replacing

MAX_SIDE, MAX_SLICES, MARGIN_SLICES, AROUND = 256, 80, 3, 4


def choose(figures: dict[str, dict[str, Any]]) -> dict[str, str]:
    """``{role: case}`` by tumour Dice; a case appears once, and of equals the larger tumour is worse."""
    scored = [
        (values["dice"]["tumour"], -values["voxels"]["tumour"][2], case)
        for case, values in figures.items()
        if values["dice"]["tumour"] is not None
    ]
    if not scored:
        return {}
    order = [case for *_, case in sorted(scored)]
    chosen: dict[str, str] = {}
    for role, case in (
        ("best", order[-1]),
        ("worst", order[0]),
        ("median", order[(len(order) - 1) // 2]),
    ):
        if case not in chosen.values():
            chosen[role] = case
    return chosen


def select_slices(*masks: np.ndarray) -> np.ndarray:
    """The slices ``[S, H, W]`` between the first and last that any mask marks, and a few around them.

    At most `MAX_SLICES`, evenly spaced; of a case without any mark all are candidates.
    """
    marked = np.flatnonzero(np.any([mask.any(axis=(1, 2)) for mask in masks], axis=0))
    slices = len(masks[0])
    first, last = (marked[0], marked[-1]) if len(marked) else (0, slices - 1)
    first, last = max(0, first - MARGIN_SLICES), min(slices - 1, last + MARGIN_SLICES)
    step = -(-(last - first + 1) // MAX_SLICES)
    return np.arange(first, last + 1, step)


def write(
    folder: Path, figures: dict[str, dict[str, Any]], data: Any, net: Any, window: Any, trainer: Any
) -> None:
    """Write the showcase of a run whose predictions lie in ``folder/predictions``.

    Args:
        folder: of the run.
        figures: of its validation cases, last stage.
        data: the opened `kitsseg.data.slices.datamodule.SliceDataModule`.
        net, window: the trained network and its window, in evaluation mode.
        trainer: whose device and precision are used.
    """
    from kitsseg.data.io.nifti import read_label

    for role, case in choose(figures).items():
        number = data.store.ids.index(case)
        stored, grid = data.store.images(number), data.store.grid(number)
        kept, source = folder / "predictions", data.cases[case]
        predicted = {"prediction": kept / f"{case}.nii.gz", "before": kept / "before" / f"{case}.nii.gz"}
        native = {"truth": read_label(source.label, source.classes)}
        native |= {name: read_label(path) for name, path in predicted.items() if path.is_file()}
        z = select_slices(*native.values())
        tumour = (native["truth"][z] == TUMOUR).sum((1, 2))
        if not tumour.any():
            tumour = (native["prediction"][z] == TUMOUR).sum((1, 2))
        start = int(tumour.argmax())
        maps = coefficients(net, window, stored, int(z[start]), data.neighbours, trainer)
        image = to_grey(np.asarray(stored[z]), window.low_hu, window.high_hu)
        masks = {name: grid.fit_label(mask[z]) for name, mask in native.items()}
        gates = [expand(alpha, image.shape[1:]) for alpha in maps]
        body = body_box(image, *masks.values())
        image, gates = image[:, *body], [gate[body] for gate in gates]
        masks = {name: mask[:, *body] for name, mask in masks.items()}
        if max(image.shape[1:]) > MAX_SIDE:
            small = Grid((image.shape[1], image.shape[2]), MAX_SIDE)
            image = (
                small.fit_image(image.astype(np.int16))[:, *small.inside].clip(0, 255).astype(np.uint8)
            )
            masks = {name: small.fit_label(mask)[:, *small.inside] for name, mask in masks.items()}
            gates = [
                cv2.resize(gate, small.scaled[::-1], interpolation=cv2.INTER_NEAREST) for gate in gates
            ]
        grids = [(alpha.shape[0], alpha.shape[1]) for alpha in maps]
        save(folder / FOLDER, ExampleCase(role, case, z, image, masks, start, gates, grids))


def to_grey(image_hu: np.ndarray, low_hu: float, high_hu: float) -> np.ndarray:
    """HU -> uint8, ``low_hu`` and below 0, ``high_hu`` and above 255."""
    share = (image_hu.astype(np.float32) - low_hu) / (high_hu - low_hu)
    return np.rint(255 * share.clip(0, 1)).astype(np.uint8)


def expand(alpha: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A coefficient map ``[h, w]`` of a slice that was padded, on the slice's own pixels ``shape``."""
    height, width = (-(-side // DIVISOR) * DIVISOR for side in shape)
    whole = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_NEAREST)
    return whole[: shape[0], : shape[1]]


def body_box(image: np.ndarray, *masks: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of ``[S, H, W]`` that hold anything but air, and a little around them."""
    there = np.any([volume.any(axis=0) for volume in (image, *masks)], axis=0)
    if not there.any():
        return slice(None), slice(None)
    sides = (np.flatnonzero(there.any(axis=axis)) for axis in (1, 0))
    rows, cols = (slice(max(0, side[0] - AROUND), side[-1] + 1 + AROUND) for side in sides)
    return rows, cols


def coefficients(
    net: Any, window: Any, images: np.ndarray, z: int, neighbours: int, trainer: Any
) -> list[np.ndarray]:
    """What each attention gate of ``net`` lets through of slice ``z``: ``[h, w]`` float32, in [0, 1].

    Args:
        images: ``[S, H, W]`` int16 HU, stored slices.
    """
    import torch

    from kitsseg.data.store.grid import neighbourhood
    from kitsseg.inference.slicewise import pad

    chunk = images[neighbourhood(np.array([z]), len(images), neighbours)]
    # Hooks are seen only where the network runs as it is written.
    eager, autocast = torch.compiler.set_stance, trainer.strategy.precision_plugin.forward_context
    with torch.inference_mode(), eager("force_eager"), autocast(), _listening(net) as maps:
        net(window(pad(torch.from_numpy(chunk).to(trainer.strategy.root_device))))
    return [alpha[0, 0].float().cpu().numpy() for alpha in maps]


@contextmanager
def _listening(net: Any) -> Iterator[list[Any]]:
    """A list that fills with each gate's coefficients ``[B, 1, h, w]`` while ``net`` runs."""
    from torch import nn

    maps: list[Any] = []
    hooks = []
    for module in net.modules():
        psi = getattr(module, "psi", None)
        if callable(getattr(module, "coefficients", None)):  # kitsseg's gates
            own = module.register_forward_hook(
                lambda gate, given, _: maps.append(gate.coefficients(*given))
            )
            hooks.append(own)
        elif isinstance(psi, nn.Sequential) and isinstance(psi[-1], nn.Sigmoid):  # MONAI's
            hooks.append(psi.register_forward_hook(lambda *call: maps.append(call[-1])))
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


def save(folder: Path, shown: ExampleCase) -> None:
    """Write ``folder/ROLE.npz`` whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {f"mask_{name}": mask for name, mask in shown.masks.items()}
    arrays |= {f"gate_{i:02}": gate.astype(np.float16) for i, gate in enumerate(shown.gates)}
    arrays["grids"] = np.array(shown.grids, np.int64).reshape(-1, 2)
    for name in ("role", "case", "z", "image", "start"):
        arrays[name] = getattr(shown, name)
    with replacing(folder / f"{shown.role}.npz") as temporary:
        np.savez_compressed(temporary, **arrays)
