"""Checkpoints that say what they are: plain containers and tensors, loaded without running code."""

import importlib
import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kitsseg.data.labels import CLASSES
from kitsseg.data.store.grid import DIVISOR
from kitsseg.models.window import Window

FORMAT = 1
# The networks that a checkpoint may name. Packages won't do: some of MONAI's networks fetch their
# weights from an address among their arguments.
OWN = "kitsseg.models."
TRUSTED = (
    f"{OWN}*",
    "monai.networks.nets.AttentionUnet",
    "monai.networks.nets.BasicUNet",
    "monai.networks.nets.SegResNet",
)
# What layers of theirs have to do with all of a slice. Others of that kind aren't in them.
WIDE = (nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)
# No network has more of anything; beyond, a file wants to exhaust the machine.
MAX_NUMBER, MAX_ITEMS, MAX_SIZE, MAX_NEIGHBOURS = 16384, 64, 4096, 32


@dataclass(frozen=True)
class Loaded:
    """A network as it was trained, in evaluation mode, and all that it takes to use it.

    ``local`` says that what it finds at a pixel is known to follow from the pixels around alone.
    """

    net: nn.Module
    window: Window
    size: int | None
    neighbours: int
    provenance: dict[str, Any]
    local: bool = False


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
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: is not a checkpoint that can be loaded: it is damaged, or holds more than "
            f"tensors and plain values, which isn't run ({_reason(error)})"
        ) from error
    except Exception as error:  # whatever the unpickler trips over in a damaged file
        raise ValueError(f"{path}: is not a checkpoint that can be loaded ({_reason(error)})") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise ValueError(f"{path}: holds no weights under 'state_dict'; it isn't kitsseg's")
    return checkpoint


def weights(content: dict[str, Any]) -> dict[str, Tensor]:
    """The network's state, keys as the network itself names them."""
    state = content["state_dict"]
    return {k.removeprefix("net."): v for k, v in state.items() if str(k).startswith("net.")}


def load(path: Path, trusted: Sequence[str] = ()) -> Loaded:
    """Build the network that ``path`` describes and give it its weights.

    Args:
        trusted: dotted paths of further classes that a checkpoint may build; only what the caller's
            own machine has is ever imported, but it is run.

    Raises:
        ValueError: the file is damaged, foreign, of another format, or names another class than those.
    """
    content = read(path)
    about = content.get("kitsseg")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"{path}: lacks kitsseg's description of format {FORMAT}; train again")
    try:
        window, size, neighbours, provenance = _described(about)
        net = _network(about["network"], weights(content), trusted)
        _try_out(net, neighbours)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Loaded(net, window, size, neighbours, provenance, is_local(net))


def is_local(net: nn.Module) -> bool:
    """Whether it is one of `TRUSTED`, and no layer of it takes statistics of the whole slice."""
    module, monai = type(net).__module__, "monai.networks.nets."
    known = module.startswith(monai) and f"{monai}{type(net).__name__}" in TRUSTED
    wide = any(isinstance(layer, WIDE) for layer in net.modules())
    return (known or module.startswith(OWN)) and not wide


def _described(about: dict[str, Any]) -> tuple[Window, int | None, int, dict[str, Any]]:
    """What the description says beside the network, checked."""
    lacks = {"network", "window", "size", "neighbours", "classes", "provenance"} - set(about)
    if lacks:
        raise ValueError(f"its description lacks {', '.join(sorted(lacks))}; train again")
    size, neighbours = about["size"], about["neighbours"]
    if size is not None and not (type(size) is int and DIVISOR <= size <= MAX_SIZE):
        raise ValueError(f"says size={size!r}; it must lie in [{DIVISOR}, {MAX_SIZE}] or be None")
    if not (type(neighbours) is int and 0 <= neighbours <= MAX_NEIGHBOURS):
        raise ValueError(f"says neighbours={neighbours!r}; it must lie in [0, {MAX_NEIGHBOURS}]")
    if about["classes"] != list(CLASSES):
        raise ValueError(f"tells apart {about['classes']!r}; kitsseg's classes are {list(CLASSES)}")
    if not isinstance(about["provenance"], dict):
        raise ValueError("its provenance isn't a dict; train again")
    window = about["window"]
    if not isinstance(window, dict) or not all(
        type(value) in (int, float) and math.isfinite(value) for value in window.values()
    ):
        raise ValueError(f"says window={window!r}; its values must be finite numbers")
    try:
        return Window(**window), size, neighbours, about["provenance"]
    except TypeError as error:
        raise ValueError(f"says window={window!r}, which isn't one ({error})") from error


def _network(about: Any, state: dict[str, Tensor], trusted: Sequence[str]) -> nn.Module:
    """The network of this description with these weights, in evaluation mode."""
    arguments = dict(about) if isinstance(about, dict) else {}
    target = arguments.pop("_target_", None)
    if not (isinstance(target, str) and _is_trusted(target, trusted)) or not _is_plain(arguments):
        raise ValueError(
            f"wants to build {target or 'nothing'} with {arguments!r:.200}; allowed are "
            f"{', '.join((*TRUSTED, *trusted))} with plain arguments"
        )
    kind = _locate(target)
    with torch.device("meta"):  # names and shapes: a lie about them costs no memory
        net = _build(kind, arguments)
    _check_weights(net, state)
    # Floating-point weights in float32, whatever they are kept in.
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    net.load_state_dict(state, assign=True)
    if any(t.is_meta for t in (*net.parameters(), *net.buffers())):  # some that aren't in the state
        net = _build(kind, arguments)
        net.load_state_dict(state)
    return net.eval().requires_grad_(False)


def _is_trusted(target: str, trusted: Sequence[str]) -> bool:
    return target in (*TRUSTED, *trusted) or target.startswith(OWN)


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a value is of plain types and sizes, with no component within."""
    if depth > 4:
        return False
    if isinstance(value, Mapping):
        keys_are_names = all(isinstance(k, str) and not k.startswith("_") for k in value)
        return keys_are_names and _is_plain(list(value.values()), depth + 1)
    if isinstance(value, (list, tuple)):
        return len(value) <= MAX_ITEMS and all(_is_plain(item, depth + 1) for item in value)
    if type(value) in (int, float):
        return abs(value) <= MAX_NUMBER
    return value is None or type(value) in (bool, str)


def _locate(target: str) -> type[nn.Module]:
    """The class of that name; only networks, and of ours only those defined here."""
    module, _, name = target.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"its network {target} isn't there ({_reason(error)})") from error
    foreign = target.startswith(OWN) and not str(getattr(kind, "__module__", "")).startswith(OWN)
    if foreign or not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"wants to build {target}, which isn't a network")
    return kind


def _build(kind: type[nn.Module], arguments: dict[str, Any]) -> nn.Module:
    try:
        return kind(**arguments)
    except Exception as error:  # any network, any arguments
        raise ValueError(f"{kind.__name__} can't be built as it says ({_reason(error)})") from error


def _check_weights(net: nn.Module, state: dict[str, Tensor]) -> None:
    wanted = net.state_dict()
    strange = sorted(set(wanted) ^ set(state))
    if strange:
        raise ValueError(
            f"its weights aren't those of its {type(net).__name__}: {len(strange)} names differ, such "
            f"as {strange[0]}"
        )
    for name, value in wanted.items():
        held = state[name]
        if not isinstance(held, Tensor) or held.layout != torch.strided or held.is_quantized:
            raise ValueError(f"its weight {name} isn't a dense tensor")
        if held.shape != value.shape or held.is_floating_point() != value.is_floating_point():
            raise ValueError(
                f"its weight {name} is {held.dtype} {tuple(held.shape)}; its {type(net).__name__} "
                f"has {value.dtype} {tuple(value.shape)}"
            )
        if held.is_floating_point() and not held.isfinite().all():
            raise ValueError(f"its weight {name} holds NaN or infinite numbers; train again")


@torch.inference_mode()
def _try_out(net: nn.Module, neighbours: int) -> None:
    """Raise `ValueError` unless the network takes the slices and gives the classes."""
    side = 2 * DIVISOR
    try:
        shape = tuple(net(torch.zeros(1, 2 * neighbours + 1, side, side)).shape)
    except Exception as error:  # any network
        raise ValueError(f"its network can't be used ({_reason(error)})") from error
    if shape != (1, len(CLASSES), side, side):
        raise ValueError(f"its network gives {shape}, not (1, {len(CLASSES)}, {side}, {side})")


def _reason(error: BaseException) -> str:
    """The first line of what an error says."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
