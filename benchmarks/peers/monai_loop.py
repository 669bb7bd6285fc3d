"""A plain MONAI training loop on the slices of a store, as a user of MONAI would write it.

AttentionUnet, DiceCELoss, Adam at 0.001 with a cosine over the given time, random flips and affine
maps, bf16 where the hardware supports it, and channels_last.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import DataLoader, Dataset
from monai.losses import DiceCELoss
from monai.networks.nets import AttentionUnet
from monai.transforms import Compose, RandAffined, RandFlipd, ScaleIntensityRanged
from torch import nn

from kitsseg.system.hardware import cpu_supports_bf16

Logits = Callable[[torch.Tensor], torch.Tensor]
Validate = Callable[[Logits], tuple[float, float]]

BATCH = 16
RATE = 1e-3


def train(
    slices: list[dict[str, npt.NDArray[np.float32]]],
    seconds: float,
    every: float,
    width: int,
    validate: Validate,
) -> Iterator[tuple[float, float, float]]:
    """Train for ``seconds``, and validate every ``every`` seconds, which does not count.

    Args:
        slices: each with ``image`` ``[1, H, W]`` float32 HU and ``label`` ``[1, H, W]``.
        width: channels at the first level.
        validate: takes a function from HU ``[B, 1, H, W]`` to logits; returns kidney and tumour Dice.

    Yields:
        Seconds of training so far, kidney Dice, tumour Dice.
    """
    torch.manual_seed(0)
    scale = ScaleIntensityRanged("image", -79, 304, 0, 1, clip=True)
    both = ("image", "label")
    affine = RandAffined(
        both,
        prob=0.9,
        rotate_range=0.35,
        scale_range=0.2,
        translate_range=8,
        mode=("bilinear", "nearest"),
        padding_mode="border",
    )
    transforms = Compose([scale, RandFlipd(both, prob=0.5, spatial_axis=1), affine])
    transforms.set_random_state(0)
    loader = DataLoader(Dataset(slices, transforms), batch_size=BATCH, shuffle=True, drop_last=True)
    net = AttentionUnet(2, 1, 3, [width * 2**level for level in range(5)], [2, 2, 2, 2])
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss_of, optimizer = (
        DiceCELoss(to_onehot_y=True, softmax=True),
        torch.optim.Adam(net.parameters(), RATE),
    )

    def logits(hu: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), autocast():
            found: torch.Tensor = net((hu.clamp(-79, 304) + 79) / 383).float()
            return found

    spent, due = 0.0, every
    while True:
        for batch in timed(loader):
            start = batch.pop("start")
            for group in optimizer.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * min(1.0, spent / seconds)))
            with autocast():
                out = net(batch["image"])
            loss = loss_of(out.float(), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            spent += time.perf_counter() - start
            if spent >= due:
                yield spent, *evaluated(net, logits, validate)
                due += every
            if spent >= seconds:
                return


def evaluated(net: nn.Module, logits: Logits, validate: Validate) -> tuple[float, float]:
    """Validate in evaluation mode."""
    net.eval()
    kidney, tumour = validate(logits)
    net.train()
    return kidney, tumour


def autocast() -> torch.autocast:
    """Return bf16 autocast where the CPU supports it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=cpu_supports_bf16())


def timed(loader: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield batches with the time at which their loading started, since loading is part of a step."""
    start = time.perf_counter()
    for batch in loader:
        yield {**batch, "start": start}
        start = time.perf_counter()
