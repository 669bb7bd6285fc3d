"""Training slices into which tumours of other training slices are copied (Yang et al. 2021, TumorCP)."""

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from kitsseg.data.labels import AIR_HU
from kitsseg.data.slices.datamodule import SliceDataModule
from kitsseg.data.slices.dataset import Sample, SliceDataset
from kitsseg.data.slices.sampling import Draw, Rows

SHARE = 0.5  # of the slices that may receive a tumour
DIAMETER = (8.0, 48.0)  # of the copies in pixels, log-uniform: small tumours are missed most often
SCALE = (0.5, 1.5)  # limits of the magnification
GAIN = (0.85, 1.15)
PIVOT_HU = 101.0
EDGE = 1.0  # standard deviation of the transition at the border, in pixels
KIDNEY, TUMOUR = 1, 2


class CopiedTumours(SliceDataset):
    """Slices of a store, some with a copied tumour. The augmentation is applied afterwards."""

    donors: Rows
    into_tumour_slices = False  # otherwise, into all slices with a kidney

    def __getitem__(self, draw: Draw) -> Sample:
        augmentation, self.augmentation = self.augmentation, None
        try:
            sample = super().__getitem__(draw)
        finally:
            self.augmentation = augmentation
        image, label = np.array(sample["image"]), np.array(sample["label"])
        rng = np.random.default_rng([self.seed, draw.epoch, draw.position, 12])
        if rng.random() < SHARE and ((label == TUMOUR).any() or not self.into_tumour_slices):
            image, label = self._paste(image, label, rng)
        if augmentation is not None:
            image, label = augmentation(image, label, (self.seed, draw.epoch, draw.position))
        return {**sample, "image": torch.from_numpy(image), "label": torch.from_numpy(label)}

    def _paste(
        self, image: npt.NDArray[Any], label: npt.NDArray[Any], rng: np.random.Generator
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return image ``[1, H, W]`` and label with a tumour of a random slice on a kidney."""
        row = int(rng.choice(self.donors))
        case, z = self.store.index.case[row], self.store.index.z[row]
        source = np.asarray(self.store.images(case)[z])
        count, parts = cv2.connectedComponents((self.store.labels(case)[z] == TUMOUR).astype(np.uint8))
        mask = (parts == rng.integers(1, count)).astype(np.float32)
        places = np.argwhere(label == KIDNEY)
        if not len(places):
            return image, label
        y, x = places[rng.integers(len(places))]
        rows, columns = np.nonzero(mask)
        angle, flip = rng.uniform(0, 2 * math.pi), rng.choice([-1.0, 1.0])
        wanted = math.exp(rng.uniform(*np.log(DIAMETER)))
        factor = float(np.clip(wanted / (2 * math.sqrt(len(rows) / math.pi)), *SCALE))
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = turn @ np.diag([flip * factor, factor])
        centre = np.array([columns.mean(), rows.mean()])
        matrix = np.column_stack([linear, np.array([x, y]) - linear @ centre])
        size = label.shape[::-1]
        moved = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_LINEAR, borderValue=AIR_HU)
        soft = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR)
        soft = cv2.GaussianBlur(soft, (0, 0), EDGE)
        changed = (moved - PIVOT_HU) * rng.uniform(*GAIN) + PIVOT_HU
        mixed = np.rint(image[0] * (1 - soft) + changed * soft).astype(np.int16)
        return mixed[None], np.where(soft > 0.5, np.uint8(TUMOUR), label)


class SlicesWithCopies(SliceDataModule):
    """Training slices, some with a copied tumour."""

    def _training_samples(self) -> Dataset[Sample]:
        samples = CopiedTumours(self.store, self.neighbours, self.augmentation, self.seed)
        index = self.store.index
        samples.donors = self.train_rows[index.contains([TUMOUR])[self.train_rows]]
        return samples


class TumourSlicesWithCopies(SlicesWithCopies):
    """As `SlicesWithCopies`, but only slices with a tumour receive a second one."""

    def _training_samples(self) -> Dataset[Sample]:
        samples = super()._training_samples()
        assert isinstance(samples, CopiedTumours)
        samples.into_tumour_slices = True
        return samples
