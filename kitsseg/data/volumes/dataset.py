"""Random patches for training, and the tiles that cover a volume for validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from kitsseg.data.labels import AIR_HU, BACKGROUND
from kitsseg.data.slices.augment import Augmentation
from kitsseg.data.slices.dataset import Sample, sample
from kitsseg.data.slices.sampling import Draw
from kitsseg.data.store.store import Store
from kitsseg.data.store.volume_grid import Shape

Array = npt.NDArray[Any]
MAX_TRIES = 100  # random places per patch, before it is centred on a foreground voxel


def read_patch(
    store: Store, case: int, start: Sequence[int], patch: Shape
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Return HU and class ids ``[D, H, W]`` of a patch; beyond the volume are air and background."""
    image = cut(store.images(case), start, patch, AIR_HU)
    return image, cut(store.labels(case), start, patch, BACKGROUND)


def cut(volume: Array, start: Sequence[int], patch: Shape, outside: int) -> Array:
    """Return a patch of a volume ``[S, H, W]``, filled with ``outside`` beyond the volume."""
    out = np.full(patch, outside, volume.dtype)
    target, source = [], []
    for first, side, length in zip(start, patch, volume.shape, strict=True):
        low, high = max(0, first), min(length, first + side)
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    out[tuple(target)] = volume[tuple(source)]
    return out


def tile_starts(length: int, side: int) -> list[int]:
    """Return the start of each tile: the fewest tiles that cover the axis, centred on it."""
    tiles = -(-length // side)
    first = (length - tiles * side) // 2
    return [first + i * side for i in range(tiles)]


@dataclass(eq=False)
class RandomPatches(Dataset[Sample]):
    """Patches of random cases, whose place and augmentation depend on seed, epoch and position only.

    A share ``centred`` is centred on a random voxel of a random foreground class. The others lie
    anywhere; of those without foreground, a share ``background_keep`` is kept, as the paper does with
    slices (section 2.3).

    Args:
        store: the volumes.
        cases: indices of the training cases in the store.
        patch: shape in voxels.
        centred: share of the patches.
        background_keep: share of the background patches.
        centre_classes: class ids on which patches are centred.
        augmentation: applied to each patch.
        seed: seed of the run.
    """

    store: Store
    cases: Sequence[int]
    patch: Shape
    centred: float
    background_keep: float
    centre_classes: Sequence[int]
    augmentation: Augmentation
    seed: int

    def __getitem__(self, draw: Draw) -> Sample:
        seed = (self.seed, draw.epoch, draw.position)
        case, start = self.place(np.random.default_rng(seed))
        image, label = self.augmentation(*read_patch(self.store, case, start, self.patch), seed)
        return sample(image[None], label, draw.row, case)

    def place(self, rng: np.random.Generator) -> tuple[int, list[int]]:
        """Return a random case and the first voxel of a patch in it."""
        if rng.random() >= self.centred or not self.cases_with:
            for _ in range(MAX_TRIES):
                case = int(rng.choice(self.cases))
                free = [n - side for n, side in zip(self._shape(case), self.patch, strict=True)]
                start = [int(rng.integers(n + 1)) if n > 0 else n // 2 for n in free]
                if rng.random() < self.background_keep or self._has_foreground(case, start):
                    return case, start
        return self._centred_place(rng) if self.cases_with else (case, start)

    def _centred_place(self, rng: np.random.Generator) -> tuple[int, list[int]]:
        class_id = int(rng.choice(list(self.cases_with)))
        case = int(rng.choice(self.cases_with[class_id]))
        index = self.store.index
        voxels = index.pixels[index.case == case, class_id]
        z = int(rng.choice(len(voxels), p=voxels / voxels.sum()))
        plane = np.flatnonzero(self.store.labels(case)[z] == class_id)
        y, x = divmod(int(rng.choice(plane)), self._shape(case)[2])
        start = []
        for centre, side, length in zip((z, y, x), self.patch, self._shape(case), strict=True):
            free = length - side
            start.append(min(max(0, centre - side // 2), free) if free > 0 else free // 2)
        return case, start

    @cached_property
    def cases_with(self) -> dict[int, list[int]]:
        """The training cases with each class on which patches are centred; without absent classes."""
        index, found = self.store.index, {}
        for class_id in self.centre_classes:
            counts = np.bincount(index.case, index.pixels[:, class_id], len(self.store.ids))
            if cases := [case for case in self.cases if counts[case] > 0]:
                found[class_id] = cases
        return found

    def _shape(self, case: int) -> tuple[int, ...]:
        return self.store.labels(case).shape

    def _has_foreground(self, case: int, start: Sequence[int]) -> bool:
        box = tuple(slice(max(0, s), s + n) for s, n in zip(start, self.patch, strict=True))
        return bool(self.store.labels(case)[box].any())


class Tiles(Dataset[Sample]):
    """Non-overlapping patches that cover each volume, centred; voxels beyond the volume are air.

    Args:
        store: the volumes.
        cases: indices of the cases in the store.
        patch: shape in voxels.
    """

    def __init__(self, store: Store, cases: Sequence[int], patch: Shape) -> None:
        self.store, self.patch = store, patch
        self.places = [
            (case, start)
            for case in cases
            for start in product(*map(tile_starts, store.labels(case).shape, patch))
        ]

    @property
    def in_case(self) -> npt.NDArray[np.int64]:
        """The case of each tile."""
        return np.array([case for case, _ in self.places], np.int64)

    def __getitem__(self, draw: Draw) -> Sample:
        case, start = self.places[draw.row]
        image, label = read_patch(self.store, case, start, self.patch)
        return sample(image[None], label, draw.row, case)
