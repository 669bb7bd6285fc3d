"""Which code, packages and machine a result comes from."""

import os
import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import kitsseg

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "torch", "pytorch-lightning", "hydra-core", "omegaconf", "nibabel", "albumentations", "monai",
    "numpy", "wandb",
)  # fmt: skip


def describe_environment(device: "torch.device", precision: str, compiled: bool) -> dict[str, str]:
    """Return versions, commit, device and precision as plain strings for a record."""
    import torch  # slow to import; `commit` does without it

    cpu = torch.cpu.get_capabilities().get("cpu_name", platform.processor())
    processor = f"{cpu}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        processor = torch.cuda.get_device_name(device)
    found = {name: list(distributions(name=name)) for name in PACKAGES}
    return {
        "kitsseg": kitsseg.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": f"{device.type}: {processor}",
        "precision": precision,
        "compiled": "yes" if compiled else "no",
        "memory": os.environ.get("GLIBC_TUNABLES", ""),
        **{name: each[0].version if each else "not installed" for name, each in found.items()},
    }


def commit() -> str:
    """Return the commit of kitsseg's checkout, with ``-dirty`` if files differ; empty outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
