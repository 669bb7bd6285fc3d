"""Checkpoints that say what they are: plain containers and tensors, loaded without running code."""

import importlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kitsseg.labels import CLASSES
from kitsseg.window import Window

FORMAT = 1
# Where a checkpoint's network may come from; a name from anywhere else is refused.
TRUSTED = ("kitsseg.models.", "monai.networks.nets.")


@dataclass(frozen=True)
class Loaded:
    """A network as it was trained, in evaluation mode, and all that it takes to use it."""

    net: nn.Module
    window: Window
    size: int | None
    neighbours: int
    provenance: dict[str, Any]


def header(
    network: dict[str, Any],
    window: Window,
    size: int | None,
    neighbours: int,
    provenance: dict[str, Any],
) -> dict[str, Any]:
    """What makes a checkpoint self-contained; plain containers only.

    Args:
        network: ``_target_`` and arguments.
        size: side of the stored slices in pixels, or None for the native grid.
        neighbours: slices on either side that the network sees.
        provenance: versions, commit, configuration.
    """
    return {
        "format": FORMAT,
        "network": network,
        "window": window.settings(),
        "size": size,
        "neighbours": neighbours,
        "classes": list(CLASSES),
        "provenance": provenance,
    }


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content: tensors and plain containers.

    Raises:
        ValueError: the file is damaged or foreign.
    """
    try:
        # weights_only: tensors and plain containers; nothing in the file is ever executed.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: is not a checkpoint that can be loaded ({reason})") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise ValueError(f"{path}: holds no weights under 'state_dict'; it isn't kitsseg's")
    return checkpoint


def weights(content: dict[str, Any]) -> dict[str, Tensor]:
    """The network's state, keys as the network itself names them."""
    state = content["state_dict"]
    return {k.removeprefix("net."): v for k, v in state.items() if k.startswith("net.")}


def load(path: Path) -> Loaded:
    """Build the network that ``path`` describes and give it its weights.

    Raises:
        ValueError: the file is damaged, foreign, of another format, or names a class outside
            `TRUSTED`.
    """
    content = read(path)
    about = content.get("kitsseg")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"{path}: lacks kitsseg's description of format {FORMAT}; train again")
    arguments = dict(about["network"])
    target = str(arguments.pop("_target_", ""))
    if not target.startswith(TRUSTED) or "_target_" in repr(arguments):
        raise ValueError(
            f"{path}: wants to build {target or 'nothing'}; allowed are {', '.join(TRUSTED)}*"
        )
    module, _, name = target.rpartition(".")
    net = getattr(importlib.import_module(module), name)(**arguments)
    net.load_state_dict(weights(content))
    kept = (about[name] for name in ("size", "neighbours", "provenance"))
    return Loaded(net.eval(), Window(**about["window"]), *kept)
