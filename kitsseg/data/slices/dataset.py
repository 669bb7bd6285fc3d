"""Slices as a torch dataset: HU as int16 and class ids; windowing happens on the device."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from kitsseg.data.labels import AIR_HU, BACKGROUND
from kitsseg.data.slices.augment import Augmentation
from kitsseg.data.slices.sampling import Draw
from kitsseg.data.store.grid import DIVISOR, neighbourhood
from kitsseg.data.store.store import Store

# One slice: "image" [K, H, W] int16 HU, "label" [H, W] uint8, and the numbers "row" and "case".
Sample = dict[str, Any]
# "image" [B, K, H, W] int16 HU, "label" [B, H, W] uint8, "row" and "case" [B].
Batch = dict[str, Tensor]


@dataclass(eq=False)
class SliceDataset(Dataset[Sample]):
    """Slices of a store by `Draw`.

    An image has K = 2 ``neighbours`` + 1 channels: the slice and its neighbours on either side. The
    augmentation is applied to image and label, with ``seed``.
    """

    store: Store
    neighbours: int = 0
    augmentation: Augmentation | None = None
    seed: int = 0

    def __getitem__(self, draw: Draw) -> Sample:
        case, z = self.store.index.case[draw.row], self.store.index.z[draw.row]
        volume = self.store.images(case)
        image = volume[neighbourhood(z[None], len(volume), self.neighbours)[0]]
        label = np.array(self.store.labels(case)[z])
        if self.augmentation is not None:
            image, label = self.augmentation(image, label, (self.seed, draw.epoch, draw.position))
        return {
            "image": torch.from_numpy(image),
            "label": torch.from_numpy(label),
            "row": draw.row,
            "case": int(case),
        }


def collate(samples: list[Sample]) -> Batch:
    """Stack patches, or slices padded with air to the largest and to multiples of `DIVISOR`."""
    if samples[0]["label"].ndim == 3:
        numbers = {name: torch.tensor([s[name] for s in samples]) for name in ("row", "case")}
        return {name: torch.stack([s[name] for s in samples]) for name in ("image", "label")} | numbers
    longest = [max(s["label"].shape[axis] for s in samples) for axis in (0, 1)]
    size = [-(-n // DIVISOR) * DIVISOR for n in longest]
    channels = len(samples[0]["image"])
    image = torch.full((len(samples), channels, *size), AIR_HU, dtype=torch.int16)
    label = torch.full((len(samples), *size), BACKGROUND, dtype=torch.uint8)
    for i, sample in enumerate(samples):
        h, w = sample["label"].shape
        image[i, :, :h, :w] = sample["image"]
        label[i, :h, :w] = sample["label"]
    rows = torch.tensor([sample["row"] for sample in samples])
    cases = torch.tensor([sample["case"] for sample in samples])
    return {"image": image, "label": label, "row": rows, "case": cases}
