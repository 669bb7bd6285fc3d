"""The time, when all that a device was asked to do is done."""

import time

import torch


def now(device: torch.device) -> float:
    """Seconds, as `time.perf_counter` counts; waits for a GPU first."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
