"""Read and describe checkpoints: tensors and plain values, loaded without running code."""

import importlib
import sys
import traceback
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.store.grid import DIVISOR
from kitsseg.inference.description import FORMAT, parse_description, parse_window
from kitsseg.models.window import Window
from kitsseg.system.package_messages import error_line

BEST = "checkpoints/finetune/best.ckpt"  # in the folder of a run
# The networks that a checkpoint may build. Allowing whole packages would be unsafe: some networks of
# MONAI download weights from a URL among their arguments.
OWN = "kitsseg.models."
MONAI = "monai.networks.nets."
TRUSTED = (
    f"{OWN}*", f"{MONAI}AttentionUnet", f"{MONAI}BasicUNet", f"{MONAI}SegResNet", f"{MONAI}DynUNet",
)  # fmt: skip
# Layers of these networks whose statistics cover a whole slice.
GLOBAL_LAYERS = (nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)
# Limit of numbers and lists among the arguments of a network.
MAX_NUMBER, MAX_ITEMS = 16384, 64


@dataclass(frozen=True)
class Loaded:
    """A trained network in evaluation mode and what is needed to apply it.

    Attributes:
        net: normalised slices ``[B, 2 neighbours + 1, H, W]`` -> logits ``[B, classes, H, W]``; in 3D,
            normalised patches ``[B, 1, D, H, W]`` -> logits ``[B, classes, D, H, W]``.
        window: normalisation of HU.
        size: side of the stored slices in pixels; None for the native grid.
        neighbours: adjacent slices on either side that the network sees.
        provenance: versions, commit and configuration of the training run.
        local: whether the logits of a pixel are known to depend on nearby pixels only.
        labels: classes and regions.
        pixel_mm: smallest and largest pixel height of the training slices; None if unknown.
        patch: slices, rows and columns of the patches of a 3D network; None for a 2D network.
        spacing_mm: spacing of slices, rows and columns to which volumes are resampled for a 3D network;
            None for the grid of each volume.
        interpolation: how HU are resampled to ``spacing_mm``; see `kitsseg.data.store.volume_grid`.
    """

    net: nn.Module
    window: Window
    size: int | None
    neighbours: int
    provenance: dict[str, Any]
    local: bool = False
    pixel_mm: tuple[float, float] | None = None
    labels: Labels = KITS19
    patch: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    interpolation: str = "linear"


def header(
    network: dict[str, Any], window: Window, size: int | None, neighbours: int,
    provenance: dict[str, Any], pixel_mm: tuple[float, float] | None = None, labels: Labels = KITS19,
    patch: tuple[int, int, int] | None = None, spacing_mm: tuple[float, float, float] | None = None,
    interpolation: str = "linear",
) -> dict[str, Any]:  # fmt: skip
    """Return the description that makes a checkpoint self-contained, as plain values; see `Loaded`.

    ``network`` holds ``_target_`` and arguments.
    """
    return {
        "format": FORMAT,
        "network": network,
        "window": window.settings(),
        "size": size,
        "neighbours": neighbours,
        "classes": list(labels.classes),
        "labels": labels.as_dict(),
        "provenance": provenance,
        "pixel_mm": None if pixel_mm is None else list(pixel_mm),
        "patch": None if patch is None else list(patch),
        "spacing_mm": None if spacing_mm is None else list(spacing_mm),
        "interpolation": interpolation,
    }


def read(path: Path) -> dict[str, Any]:
    """Return the tensors and plain values of a checkpoint; raise `ValueError` if it cannot be used."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)  # never runs code
    except IsADirectoryError as error:
        raise ValueError(f"{path}: is a folder; name a file in it, such as {BEST}") from error
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can raise any exception
        raise ValueError(
            f"{path}: not a loadable checkpoint: damaged, or with objects other than tensors and plain "
            "values, which are not loaded"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise ValueError(f"{path}: no weights under 'state_dict'; not a checkpoint of kitsseg")
    return checkpoint


def weights(content: dict[str, Any]) -> dict[str, Tensor]:
    """Return the state dict of the network from the content of a checkpoint."""
    state = content["state_dict"]
    return {k.removeprefix("net."): v for k, v in state.items() if str(k).startswith("net.")}


def load(path: Path, trusted: Sequence[str] = ()) -> Loaded:
    """Return the network that ``path`` describes, with its weights.

    ``trusted`` holds dotted paths of further network classes that the checkpoint may build. Their code
    is imported from this machine and run. Raises `ValueError` if the file is damaged, has another
    format, or names a class that is not trusted.
    """
    content = read(path)
    description: Any = content.get("kitsseg")
    try:
        about = parse_description(description, "network", "window")
        window = parse_window(description["window"])
        net = _restore(description["network"], weights(content), trusted)
        # The forward pass of a 3D patch takes long, so only its shape is computed.
        check_description(net if about["patch"] is None else deepcopy(net).to("meta"), about)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Loaded(net, window, local=is_local(net), **about)


def is_local(net: nn.Module) -> bool:
    """Return whether ``net`` is in `TRUSTED`, can see crops, and no layer has statistics of a slice."""
    if 2 ** getattr(net, "depth", 0) > DIVISOR:  # the sides of crops are multiples of DIVISOR
        return False
    module = type(net).__module__
    known = module.startswith(MONAI) and f"{MONAI}{type(net).__name__}" in TRUSTED
    has_global_layer = any(isinstance(layer, GLOBAL_LAYERS) for layer in net.modules())
    return (known or module.startswith(OWN)) and not has_global_layer


def _restore(network: Any, state: dict[str, Tensor], trusted: Sequence[str]) -> nn.Module:
    """Return the described network with the weights ``state``, in evaluation mode."""
    arguments = dict(network) if isinstance(network, dict) else {}
    target = arguments.pop("_target_", None)
    allowed = (*TRUSTED, *trusted)
    is_trusted = isinstance(target, str) and (target in allowed or target.startswith(OWN))
    if target in trusted and not _is_plain(arguments):
        raise ValueError(
            f"network {target} with {arguments!r:.200} cannot be built from a checkpoint: its arguments "
            "must be plain values, without components (_target_); let the class build them itself"
        )
    if not (is_trusted and _is_plain(arguments)):
        raise ValueError(
            f"network {target or '(none)'} with {arguments!r:.200} is not allowed; allowed are "
            f"{', '.join(allowed)} with plain arguments. If you trust its code, set trusted=[{target}]"
        )
    network_class = _locate(target)
    with torch.device("meta"):  # check names and shapes before allocating memory
        net = _build(network_class, arguments)
    _check_weights(net, state)
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    net.load_state_dict(state, assign=True)
    if any(t.is_meta for t in (*net.parameters(), *net.buffers())):  # non-persistent buffers
        net = _build(network_class, arguments)
        net.load_state_dict(state)
    return net.eval().requires_grad_(False)


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Return whether a value consists of plain types of limited size, without nested components."""
    if depth > 4:
        return False
    if isinstance(value, Mapping):
        keys_are_names = all(isinstance(k, str) and not k.startswith("_") for k in value)
        return keys_are_names and _is_plain(list(value.values()), depth + 1)
    if isinstance(value, (list, tuple)):
        return len(value) <= MAX_ITEMS and all(_is_plain(item, depth + 1) for item in value)
    if type(value) in (int, float):
        return bool(abs(value) <= MAX_NUMBER)
    return value is None or type(value) in (bool, str)


def _locate(target: str) -> type[nn.Module]:
    """Return the network class of that dotted path; under `OWN` only classes defined there."""
    module, _, name = target.rpartition(".")
    try:
        network_class = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"network {target} cannot be imported ({error_line(error)})") from error
    defined_in = str(getattr(network_class, "__module__", ""))
    foreign = target.startswith(OWN) and not defined_in.startswith(OWN)
    if foreign or not (isinstance(network_class, type) and issubclass(network_class, nn.Module)):
        raise ValueError(f"{target} is not a network")
    return network_class


def _build(network_class: type[nn.Module], arguments: dict[str, Any]) -> nn.Module:
    try:
        return network_class(**arguments)
    except Exception as error:  # arbitrary networks and arguments
        raise ValueError(f"{network_class.__name__} cannot be built ({error_line(error)})") from error


def _check_weights(net: nn.Module, state: dict[str, Tensor]) -> None:
    """Raise `ValueError` unless ``state`` has the names, shapes and kinds of the weights of ``net``."""
    expected, name_of_net = net.state_dict(), type(net).__name__
    if differing := sorted(set(expected) ^ set(state)):
        raise ValueError(
            f"the weights do not match {name_of_net}: {len(differing)} names differ, e.g. {differing[0]}"
        )
    for name, value in expected.items():
        stored = state[name]
        if not isinstance(stored, Tensor) or stored.layout != torch.strided or stored.is_quantized:
            raise ValueError(f"weight {name} is not a dense tensor")
        if stored.shape != value.shape or stored.is_floating_point() != value.is_floating_point():
            raise ValueError(
                f"weight {name} is {stored.dtype} {tuple(stored.shape)}; {name_of_net} "
                f"expects {value.dtype} {tuple(value.shape)}"
            )
        if stored.is_floating_point() and not stored.isfinite().all():
            raise ValueError(f"weight {name} has NaN or infinite values; train again")


def _place(error: Exception, net: nn.Module) -> str:
    """Return the last line in the file of the network's class that an error passed."""
    file = sys.modules[type(net).__module__].__file__
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == file]
    return f" at {file}:{lines[-1]}" if lines else ""


def check_description(net: nn.Module, about: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless ``net`` suits the values of `parse_description`."""
    size, patch = about["size"], about["patch"]
    check = partial(check_output, net, about["neighbours"], about["labels"])
    try:
        check((2 * DIVISOR, 2 * DIVISOR) if patch is None else patch)
    except ValueError:
        if size is None:
            raise
        check((size, size))  # some networks accept the size of the training only


@torch.inference_mode()
def check_output(
    net: nn.Module, neighbours: int, labels: Labels, sides: Sequence[int], in_training: bool = False
) -> None:
    """Raise `ValueError` unless ``net`` maps two images to one logit per class and pixel.

    Args:
        net: on the meta device, where a forward pass costs nothing, or on another one.
        neighbours: number of slices on either side in the network's input.
        labels: the classes.
        sides: shape of an image; three numbers for a patch.
        in_training: check the output in training mode, which may be a list from fine to coarse.
    """
    name, training = type(net).__name__, net.training
    batch, channels = 2, 2 * neighbours + 1
    mode = " in training mode" if in_training else ""
    device = next(net.parameters(), torch.empty(0)).device
    try:
        out = net.train(in_training)(torch.zeros(batch, channels, *sides, device=device))
    except NotImplementedError:  # an operation without an implementation on the meta device
        return
    except Exception as error:  # arbitrary networks raise arbitrary errors
        raise ValueError(
            f"{name} cannot be applied to {len(sides)}D images with {channels} channels{mode} "
            f"({type(error).__name__}: {error_line(error)}{_place(error, net)})"
        ) from error
    finally:
        net.train(training)
    expected = [batch, len(labels.classes), *sides]
    is_list = in_training and isinstance(out, (list, tuple)) and len(out) > 0
    for level, each in enumerate(out if is_list else [out]):
        if not isinstance(each, Tensor):
            raise ValueError(
                f"{name} returns a {type(out).__name__}{mode}; kitsseg needs a tensor of logits "
                "[B, classes, ...]; return only this tensor"
            )
        shape = list(each.shape)
        if shape != expected and not (level and _is_coarser(shape, expected)):
            which = f", item {level + 1} of {len(out)} from fine to coarse" if is_list else ""
            raise ValueError(
                f"{name} maps {[batch, channels, *sides]} to {shape}{mode}{which}; kitsseg needs "
                f"{expected}{', or coarser' if level else ''}: one logit for each of "
                f"{', '.join(labels.classes)}"
            )


def _is_coarser(shape: list[int], fine: list[int]) -> bool:
    """Return whether the sides of the logits of a coarser level divide those of the finest one."""
    same = len(shape) == len(fine) and shape[:2] == fine[:2]
    return same and all(b > 0 and a % b == 0 for a, b in zip(fine, shape, strict=True))
