"""The current time, after a device has finished its work."""

import time

import torch


def now(device: torch.device) -> float:
    """Return `time.perf_counter` in seconds, after a GPU has finished its queue."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
