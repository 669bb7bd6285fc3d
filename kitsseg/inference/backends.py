"""What computes a checkpoint's network: PyTorch or, where that is faster on a processor, ONNX Runtime.

PyTorch's bf16 is the fastest where a processor has instructions for it. Where it has none, both compute
in float32 and give the same to rounding, and a short trial tells which is faster here.
"""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

import kitsseg
from kitsseg.data.store.grid import DIVISOR
from kitsseg.inference import export_formats
from kitsseg.inference.checkpoint import Loaded
from kitsseg.inference.record import fingerprint
from kitsseg.system import hardware
from kitsseg.system.optional_packages import require

RUNTIMES = ("auto", "torch", "onnx")
NAMES = {"torch": "PyTorch", "onnx": "ONNX Runtime"}
WORTH_IT = 0.95  # of PyTorch's time: with less of a gain, what was trained stays what is used
TRIAL_SIDE, TRIAL_PIXELS, TRIALS = 256, 1 << 17, 3


@dataclass(frozen=True)
class Chosen:
    """A network ready to be applied, by what, and why by that."""

    member: Loaded
    runtime: str
    why: str


def choose(member: Loaded, path: Path, runtime: str, device: torch.device, precision: str) -> Chosen:
    """PyTorch or ONNX Runtime for the network of a checkpoint.

    Args:
        path: of the checkpoint or ONNX file that ``member`` was loaded from.
        runtime: one of `RUNTIMES`.
        precision: as it was asked for, perhaps ``auto``.

    Raises:
        ValueError: what was asked for can't be, in one line.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime={runtime} must be one of {', '.join(RUNTIMES)}")
    if isinstance(member.net, export_formats.OnnxNet):
        if runtime == "torch":
            raise ValueError(f"{path}: is an ONNX file; runtime=torch needs the checkpoint itself")
        return Chosen(member, "onnx", "it is an ONNX file")
    if runtime == "torch":
        return Chosen(member, "torch", "as asked for")
    reduced = precision not in ("auto", "32-true")
    if runtime == "onnx":
        if device.type != "cpu":
            raise ValueError(f"runtime=onnx computes on the processor, not on {device}; add device=cpu")
        if reduced:
            raise ValueError(f"runtime=onnx computes in float32, not in {precision}; use precision=auto")
        return Chosen(_exported(member, path), "onnx", "as asked for")
    if device.type != "cpu":
        return Chosen(member, "torch", f"on {device}")
    if reduced:
        return Chosen(member, "torch", f"precision={precision}")
    if hardware.cpu_computes_bf16():
        return Chosen(member, "torch", "this processor computes in bf16")
    return _faster(member, path)


def cache() -> Path:
    """The folder in which exported networks are kept."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home else Path.home() / ".cache") / "kitsseg" / "onnx"


def _faster(member: Loaded, path: Path) -> Chosen:
    try:
        exported = _exported(member, path)
    except (ValueError, OSError, RuntimeError) as error:  # a package, the network, the folder, no home
        return Chosen(member, "torch", f"no ONNX of it: {error}")
    image = _image(member)
    milliseconds = {
        name: _seconds(each.net, each.window(image)) * 1000 / len(image)
        for name, each in (("torch", member), ("onnx", exported))
    }
    measured = ", ".join(f"{NAMES[name]} {ms:.1f}" for name, ms in milliseconds.items())
    measured += f" ms a slice of {image.shape[2]} x {image.shape[3]}"
    if milliseconds["onnx"] < WORTH_IT * milliseconds["torch"]:
        return Chosen(exported, "onnx", measured)
    return Chosen(member, "torch", measured)


def _exported(member: Loaded, path: Path) -> Loaded:
    """The network as ONNX: from the cache if what lies there gives the same, else made and kept.

    Raises:
        ValueError: a package is missing, or the network can't be exported.
        OSError: the cache can't be written.
    """
    for module in ("onnx", "onnxruntime", "onnxscript"):
        require(module, "onnx", "computing by ONNX Runtime")
    kept = cache() / f"{fingerprint(path)}-{kitsseg.__version__}.onnx"
    try:
        exported = export_formats.load_onnx(kept)
        if _is_same(member, exported):
            return replace(exported, local=member.local)
    except ValueError:  # isn't there, or damaged
        pass
    kept.parent.mkdir(parents=True, exist_ok=True)
    export_formats.export_onnx(member, kept)
    return export_formats.load_onnx(kept)


def _is_same(member: Loaded, exported: Loaded) -> bool:
    """Whether it still is the same network: a checkpoint names a class, whose code may have changed."""
    if (member.size, member.neighbours) != (exported.size, exported.neighbours):
        return False
    image = _image(member)[:1]
    with torch.inference_mode():
        wanted, made = (each.net(each.window(image)) for each in (member, exported))
    return bool((wanted - made).abs().max() <= export_formats.TOLERANCE * wanted.abs().max())


def _image(member: Loaded) -> Tensor:
    """Slices of noise in HU such as the network sees, none larger than a trial needs."""
    side = TRIAL_SIDE if member.size is None else min(member.size, TRIAL_SIDE)
    side = -(-side // DIVISOR) * DIVISOR
    shape = (max(1, TRIAL_PIXELS // side**2), 2 * member.neighbours + 1, side, side)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 100


@torch.inference_mode()
def _seconds(net: nn.Module, image: Tensor) -> float:
    """Of a forward pass, the quickest of `TRIALS` after a first one; by the clock, as users wait."""
    net = hardware.ready(net, channels_last=True, compile=False)
    image = image.contiguous(memory_format=torch.channels_last)
    net(image)
    taken = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        net(image)
        taken.append(time.perf_counter() - start)
    return min(taken)
