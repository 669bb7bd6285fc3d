"""What the machine computes well, and how a network is made ready for it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from shutil import which

import torch
from torch import nn


def choose_device(requested: str = "auto") -> torch.device:
    """The device of that name; ``auto``: a GPU if there is one.

    Raises:
        ValueError: there's no such device.
    """
    if requested == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps"
        return torch.device(found if found == "cuda" or torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(requested)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # not built in, not there
        raise ValueError(f"device={requested}: isn't there; try auto or cpu") from error
    return device


def choose_precision(accelerator: str, requested: str = "auto") -> str:
    """A value for Lightning's ``precision``; ``auto`` is resolved by what the hardware computes in.

    bf16 needs no loss scaling, so it is preferred wherever it is native: on CPUs with AVX512-BF16 or
    AMX it makes convolutions about twice as fast, on those without it much slower.
    """
    if requested != "auto":
        return requested
    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(False) else "16-mixed"
    if accelerator in ("mps", "auto") and torch.backends.mps.is_available():
        return "32-true"
    return "bf16-mixed" if cpu_computes_bf16() else "32-true"


def cpu_computes_bf16() -> bool:
    """Whether this CPU has instructions for products of bf16 numbers."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def choose_compile(accelerator: str, requested: bool | None = None) -> bool:
    """Whether to `torch.compile` the network; None: where it pays.

    It does on CUDA GPUs that Triton writes kernels for, given a C compiler for their launchers. On CPUs
    compiling takes longer than it saves in most runs.
    """
    if requested is not None:
        return requested
    if accelerator not in ("gpu", "cuda", "auto") or not torch.cuda.is_available():
        return False
    able = torch.cuda.get_device_capability() >= (7, 0)
    return able and find_spec("triton") is not None and any(map(which, ("cc", "gcc", "clang")))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had no room: CUDA's, its libraries', MPS's or a processor's own."""
    texts = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in texts)


def ready(net: nn.Module, channels_last: bool, compile: bool) -> nn.Module:
    """``net`` in the chosen memory format, compiled in place so that its keys keep their names."""
    if channels_last:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        net.compile()
    return net


def autocast(device: torch.device, precision: str) -> Callable[[], AbstractContextManager[object]]:
    """Makes the context of a precision, as Lightning has it in training.

    Raises:
        ValueError: there's no such precision.
    """
    kinds = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    if precision not in kinds:
        raise ValueError(f"precision={precision} must be auto, {', '.join(kinds)}")
    kind = kinds[precision]
    return nullcontext if kind is None else lambda: torch.autocast(device.type, kind)
