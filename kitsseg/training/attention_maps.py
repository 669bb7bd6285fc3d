"""Attention coefficients of a slice."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from kitsseg.data.labels import AIR_HU
from kitsseg.data.store.grid import neighbourhood
from kitsseg.data.volumes.dataset import cut, tile_starts
from kitsseg.inference.slicewise import pad
from kitsseg.models.window import Window


def attention_maps(
    net: nn.Module,
    window: Window,
    images: npt.NDArray[np.int16],
    z: int,
    neighbours: int,
    patch: tuple[int, int, int] | None,
    trainer: pl.Trainer,
) -> list[tuple[npt.NDArray[np.float32], tuple[int, int]]]:
    """Return the coefficients of each attention gate of ``net`` on slice ``z``.

    Args:
        net: kitsseg's or MONAI's attention U-Net, in evaluation mode; other networks have no gates.
        window: maps HU to the input of the network.
        images: stored slices ``[S, H, W]`` in HU.
        z: index of the slice.
        neighbours: number of slices on either side in the input of a 2D network.
        patch: shape of the patches of a 3D network, which cover the slice; None for a 2D network.
        trainer: defines device and precision.

    Returns:
        Per gate, in the order of computation: the map ``[H, W]`` of the slice in [0, 1], and the rows
        and columns of the coefficients in the input of the network.
    """
    planes: list[npt.NDArray[np.float32]] = []
    sides: list[tuple[int, int]] = []
    device, autocast = trainer.strategy.root_device, trainer.strategy.precision_plugin.forward_context
    # Compiled networks do not call hooks.
    eager = torch.compiler.set_stance("force_eager")
    with torch.inference_mode(), eager, autocast():
        for hu, first, top, left in _inputs(images, z, neighbours, patch):
            with _collecting(net) as maps:
                net(window(hu.to(device)))
            height, width = hu.shape[-2:]
            planes = planes or [np.zeros(images.shape[1:], np.float32) for _ in maps]
            sides = [(int(alpha.shape[-2]), int(alpha.shape[-1])) for alpha in maps]
            for plane, alpha in zip(planes, maps, strict=True):
                if alpha.ndim == 5:
                    alpha = alpha[:, :, int((z - first + 0.5) * alpha.shape[2] / hu.shape[2])]
                coefficients = alpha[0, 0].float().cpu().numpy()
                tile = cv2.resize(coefficients, (width, height), interpolation=cv2.INTER_NEAREST)
                rows, columns = max(0, top), max(0, left)
                inside = tile[rows - top :, columns - left :]
                inside = inside[: plane.shape[0] - rows, : plane.shape[1] - columns]
                plane[rows : rows + inside.shape[0], columns : columns + inside.shape[1]] = inside
    return list(zip(planes, sides, strict=True))


def _inputs(
    images: npt.NDArray[np.int16], z: int, neighbours: int, patch: tuple[int, int, int] | None
) -> Iterator[tuple[Tensor, int, int, int]]:
    """Yield the inputs of a network that cover slice ``z``, with their first slice, row and column."""
    if patch is None:
        chunk = images[neighbourhood(np.array([z]), len(images), neighbours)]
        yield pad(torch.from_numpy(chunk)), z, 0, 0
        return
    tops, lefts = map(tile_starts, images.shape[1:], patch[1:])
    free = len(images) - patch[0]
    first = min(max(0, z - patch[0] // 2), free) if free > 0 else free // 2
    for top, left in product(tops, lefts):
        hu = cut(images, (first, top, left), patch, AIR_HU)
        yield torch.from_numpy(hu)[None, None], first, top, left


@contextmanager
def _collecting(net: nn.Module) -> Iterator[list[Tensor]]:
    """Yield a list that receives the coefficients ``[B, 1, h, w]`` of each gate that ``net`` runs."""
    maps: list[Tensor] = []
    hooks = []
    for module in net.modules():
        psi = getattr(module, "psi", None)
        if callable(getattr(module, "coefficients", None)):  # kitsseg's gate
            hook = module.register_forward_hook(
                lambda gate, inputs, _: maps.append(gate.coefficients(*inputs))
            )
            hooks.append(hook)
        elif isinstance(psi, nn.Sequential) and isinstance(psi[-1], nn.Sigmoid):  # MONAI's gate
            hooks.append(psi.register_forward_hook(lambda *call: maps.append(call[-1])))
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()
