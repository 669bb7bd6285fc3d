"""What the hardware supports, and how a network is adapted to it."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import torch
from torch import nn

log = logging.getLogger("kitsseg")


def choose_device(requested: str = "auto") -> torch.device:
    """Return the device of that name, or raise `ValueError`; ``auto`` returns a GPU if there is one."""
    if requested == "auto":
        found = "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device("cuda" if torch.cuda.is_available() else found)
    try:
        device = torch.device(requested)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # not built in, or not there
        remedy = "this machine does not have it; try auto or cpu"
        raise ValueError(f"device={requested}: {remedy}") from error
    return device


def choose_precision(accelerator: str, requested: str = "auto") -> str:
    """Return a value for Lightning's ``precision``; ``auto`` depends on the hardware.

    bf16 needs no loss scaling, so it is preferred wherever it is native. On CPUs with AVX512-BF16 or
    AMX it makes convolutions about twice as fast; on other CPUs it makes them much slower.
    """
    if requested != "auto":
        return requested
    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(False) else "16-mixed"
    if accelerator in ("mps", "auto") and torch.backends.mps.is_available():
        return "32-true"
    return "bf16-mixed" if cpu_supports_bf16() else "32-true"


def cpu_supports_bf16() -> bool:
    """Whether this CPU has instructions that multiply bf16 numbers."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def choose_compile(accelerator: str, requested: bool | None = None) -> bool:
    """Whether to `torch.compile` the network; by default on GPUs that support it.

    Triton needs compute capability 7.0 and a C compiler. On CPUs, compiling rarely saves time.
    """
    if requested is not None:
        return requested
    if accelerator not in ("gpu", "cuda", "auto") or not torch.cuda.is_available():
        return False
    supported = torch.cuda.get_device_capability() >= (7, 0)
    return supported and find_spec("triton") is not None and any(map(which, ("cc", "gcc", "clang")))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that a device, or a library of it, is out of memory."""
    texts = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in texts)


@contextmanager
def fitting(device: torch.device, what: str) -> Iterator[None]:
    """Raise `ValueError` if the memory of a device cannot hold ``what``, which the block computes."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        remedy = "free memory" if device.type == "cpu" else "free memory or use device=cpu"
        raise ValueError(f"device={device}: not enough memory for {what}; {remedy}") from error


def halve_batch(device: torch.device, batch: int, items: str) -> int:
    """Warn that a ``batch`` of ``items`` does not fit into a device's memory; return half its size."""
    lack = f"device={device}: not enough memory for {batch} {items} per batch"
    log.warning(f"{lack}; continuing with {batch // 2}")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return batch // 2


def free_memory(device: torch.device) -> float:
    """Return the bytes of memory that can be allocated on a device; infinity if that is unknown."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux
        return math.inf
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def optimize(net: nn.Module, channels_last: bool, compile: bool) -> nn.Module:
    """Return ``net`` in the given memory format, compiled in place to keep the names of its weights."""
    for weight in net.parameters() if channels_last else ():
        if weight.ndim == 4:
            weight.data = weight.data.to(memory_format=torch.channels_last)
        elif weight.ndim == 5:
            # A copy, because a weight with one input channel would keep its strides, and the first
            # convolution would return its output in the default format: a step would take 7 % longer.
            copy = torch.empty_like(weight.data, memory_format=torch.channels_last_3d)
            weight.data = copy.copy_(weight.data)
    if compile:
        net.compile()
    return net


def autocast(device: torch.device, precision: str) -> Callable[[], AbstractContextManager[object]]:
    """Return a function that creates the autocast context of a precision named as in Lightning."""
    dtypes = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    if precision not in dtypes:
        raise ValueError(f"precision={precision}: must be auto, {', '.join(dtypes)}")
    dtype = dtypes[precision]
    return nullcontext if dtype is None else lambda: torch.autocast(device.type, dtype)
