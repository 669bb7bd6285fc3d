"""Slices as a torch dataset: HU as int16 and class ids; windowing happens on the device."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, default_collate

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
        return sample(image, label, draw.row, case)


def sample(image: npt.NDArray[np.int16], label: npt.NDArray[np.uint8], row: int, case: int) -> Sample:
    """Return a slice, or a patch ``[1, D, H, W]`` with its label ``[D, H, W]``, as a `Sample`."""
    tensors = {"image": torch.from_numpy(image), "label": torch.from_numpy(label)}
    return {**tensors, "row": row, "case": int(case)}


def collate(samples: list[Sample]) -> Batch:
    """Stack patches, or slices padded with air to the largest and to multiples of `DIVISOR`."""
    if samples[0]["label"].ndim == 2:
        sizes = np.array([s["label"].shape for s in samples])
        missing = -(-sizes.max(axis=0) // DIVISOR) * DIVISOR - sizes
        samples = [_pad(s, *below) for s, below in zip(samples, missing.tolist(), strict=True)]
    batch: Batch = default_collate(samples)
    return batch


def _pad(sample: Sample, rows: int, columns: int) -> Sample:
    """Return a slice with rows and columns of air added below and to the right."""
    margin = (0, columns, 0, rows)
    image = F.pad(sample["image"], margin, value=AIR_HU)
    return {**sample, "image": image, "label": F.pad(sample["label"], margin, value=BACKGROUND)}
