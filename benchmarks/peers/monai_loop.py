"""A plain MONAI training loop in 2D or 3D, as a user of MONAI would write it.

AttentionUnet, DiceCELoss, a cosine over the given time, bf16 where the hardware supports it, and
channels_last. In 2D: Adam at 0.001, random flips and affine maps of the slices of a store. In 3D: AdamW
at 0.001, patches by RandCropByPosNegLabel from cached volumes, with flips and affine maps.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy.typing as npt
import torch
from monai.data import CacheDataset, DataLoader, Dataset, list_data_collate
from monai.losses import DiceCELoss
from monai.networks.nets import AttentionUnet
from monai.transforms import (
    Compose,
    FgBgToIndicesd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandFlipd,
    ScaleIntensityRanged,
    SpatialPadd,
)
from torch import nn

from kitsseg.models.blocks import CHANNELS_LAST
from kitsseg.system.hardware import cpu_supports_bf16

Array = npt.NDArray[Any]
Logits = Callable[[torch.Tensor], torch.Tensor]
Validate = Callable[[Logits], Array]

BATCH = 16  # slices
RATE = 1e-3
KEYS = ("image", "label")
MODES = ("bilinear", "nearest")
SCALE = ScaleIntensityRanged("image", -79, 304, 0, 1, clip=True)


def slices_loader(slices: Sequence[dict[str, Array]], seed: int) -> Iterable[Any]:
    """Return the loader of slices, each with ``image`` and ``label`` ``[1, H, W]`` in float32."""
    affine = RandAffined(
        KEYS, prob=0.9, rotate_range=0.35, scale_range=0.2, translate_range=8, mode=MODES,
        padding_mode="border",
    )  # fmt: skip
    transforms = Compose([SCALE, RandFlipd(KEYS, prob=0.5, spatial_axis=1), affine])
    transforms.set_random_state(seed)
    return DataLoader(Dataset(slices, transforms), batch_size=BATCH, shuffle=True, drop_last=True)


def patches_loader(
    volumes: Sequence[dict[str, Array]], patch: Sequence[int], batch: int, seed: int
) -> Iterable[Any]:
    """Return the loader of one patch per volume, with ``image`` and ``label`` ``[1, S, H, W]``."""
    affine = RandAffined(
        KEYS, prob=0.5, rotate_range=(0.35, 0, 0), scale_range=0.2, mode=MODES, padding_mode="border"
    )
    crop = RandCropByPosNegLabeld(
        KEYS, "label", patch, num_samples=1, fg_indices_key="label_fg_indices",
        bg_indices_key="label_bg_indices",
    )  # fmt: skip
    flips = [RandFlipd(KEYS, prob=0.5, spatial_axis=axis) for axis in range(3)]
    steps = [SCALE, SpatialPadd(KEYS, patch), FgBgToIndicesd("label"), crop, *flips, affine]
    transforms = Compose(steps)
    transforms.set_random_state(seed)
    cached = CacheDataset(volumes, transforms, num_workers=0, progress=False)
    return DataLoader(
        cached, batch_size=batch, shuffle=True, drop_last=True, collate_fn=list_data_collate
    )


def train(
    loader: Iterable[Any],
    strides: Sequence[Sequence[int]],
    width: int,
    seed: int,
    seconds: float,
    every: float,
    validate: Validate,
) -> Iterator[tuple[float, Array]]:
    """Train for ``seconds``, and validate every ``every`` seconds, which does not count.

    Args:
        loader: batches of ``image``, between 0 and 1, and ``label``, with a channel.
        strides: of the poolings, one number per axis.
        width: channels at the first level.
        seed: of the initial weights and of the order.
        validate: takes a function from HU ``[B, 1, ...]`` to logits; returns the scores.

    Yields:
        Seconds of training so far, scores.
    """
    torch.manual_seed(seed)
    dims, channels = len(strides[0]), [width * 2**level for level in range(len(strides) + 1)]
    steps: Any = [tuple(stride) for stride in strides]
    net = AttentionUnet(dims, 1, 3, channels, steps)
    net = net.to(memory_format=CHANNELS_LAST[dims])  # type: ignore[call-overload]
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True)
    make = torch.optim.Adam if dims == 2 else torch.optim.AdamW
    optimizer = make(net.parameters(), RATE)

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
                out = net(batch["image"].contiguous(memory_format=CHANNELS_LAST[dims]))
            loss = loss_of(out.float(), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            spent += time.perf_counter() - start
            if spent >= min(due, seconds):
                yield spent, evaluated(net, logits, validate)
                due += every
            if spent >= seconds:
                return


def evaluated(net: nn.Module, logits: Logits, validate: Validate) -> Array:
    """Validate in evaluation mode."""
    net.eval()
    scores = validate(logits)
    net.train()
    return scores


def autocast() -> torch.autocast:
    """Return bf16 autocast where the CPU supports it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=cpu_supports_bf16())


def timed(loader: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield batches with the time at which their loading started, since loading is part of a step."""
    start = time.perf_counter()
    for batch in loader:
        yield {**batch, "start": start}
        start = time.perf_counter()
