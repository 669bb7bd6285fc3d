"""Attention coefficients of a slice."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from kitsseg.data.store.grid import neighbourhood
from kitsseg.inference.slicewise import pad
from kitsseg.models.window import Window


def attention_maps(
    net: nn.Module,
    window: Window,
    images: npt.NDArray[np.int16],
    z: int,
    neighbours: int,
    trainer: pl.Trainer,
) -> list[npt.NDArray[np.float32]]:
    """Return the coefficients of each attention gate of ``net`` on slice ``z``.

    Args:
        net: kitsseg's or MONAI's attention U-Net, in evaluation mode; other networks have no gates.
        window: maps HU to the input of the network.
        images: stored slices ``[S, H, W]`` in HU.
        z: index of the slice.
        neighbours: number of slices on either side in the network's input.
        trainer: defines device and precision.

    Returns:
        ``[h, w]`` in [0, 1] per gate, in the order of computation.
    """
    chunk = images[neighbourhood(np.array([z]), len(images), neighbours)]
    autocast = trainer.strategy.precision_plugin.forward_context
    # Compiled networks do not call hooks.
    eager = torch.compiler.set_stance("force_eager")
    with torch.inference_mode(), eager, autocast(), _collecting(net) as maps:
        net(window(pad(torch.from_numpy(chunk).to(trainer.strategy.root_device))))
    return [alpha[0, 0].float().cpu().numpy() for alpha in maps]


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
