"""The LightningDataModule of 3D networks: patches of resampled volumes."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from kitsseg.data.io.nifti.read import read_layout
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.slices.augment import Augmentation
from kitsseg.data.slices.datamodule import CaseSource, SliceDataModule, Splitter
from kitsseg.data.slices.dataset import Sample
from kitsseg.data.slices.sampling import Rows
from kitsseg.data.store.store import Resolution
from kitsseg.data.store.volume_grid import INTERPOLATIONS, Shape
from kitsseg.data.volumes.dataset import RandomPatches, Tiles
from kitsseg.data.volumes.patch_plan import Plan, Triple, make_plan


class PatchDataModule(SliceDataModule):
    """Training patches and validation tiles of the volumes below ``root``.

    The other arguments are those of `SliceDataModule`. ``size`` and ``redraw_background`` have no
    effect: ``spacing_mm`` sets the resolution, and each epoch draws other patches.

    Args:
        spacing_mm: spacing of slices, rows and columns of the resampled volumes; ``auto`` follows
            nnU-Net's rules, see `kitsseg.data.volumes.patch_plan`; None keeps the voxels of each case.
        interpolation: how HU are resampled to ``spacing_mm``: ``linear`` or ``cubic``.
        patch: slices, rows and columns of a patch; ``auto`` follows nnU-Net's rules.
        patches_per_epoch: None: as many as would cover the training volumes once.
        centred: share of the patches that are centred on a random voxel of a random foreground class.
        background_keep: share of the randomly placed patches with background only that are kept.
        batch_size: patches per step per device.

    Raises:
        ValueError: a value is out of range; from `prepare_data` and `setup`, a problem of the data.
    """

    samples = "patches"
    validation_batch = 2

    def __init__(
        self,
        root: str | Path,
        source: CaseSource,
        split: Splitter,
        augmentation: Augmentation,
        prepared: str | Path,
        size: int | None = None,
        neighbours: int = 0,
        exclude: Sequence[str] = (),
        background_keep: float = 0.02,
        redraw_background: bool = True,
        target_repeat: int = 1,
        batch_size: int = 2,
        workers: int | None = 0,
        prepare_workers: int = 1,
        skip_bad: bool = False,
        seed: int = 0,
        labels: Labels = KITS19,
        spacing_mm: list[float] | str | None = "auto",
        interpolation: str = "linear",
        patch: list[int] | str = "auto",
        patches_per_epoch: int | None = None,
        centred: float = 0.33,
    ) -> None:
        super().__init__(
            root, source, split, augmentation, prepared, None, 0, exclude, background_keep, True, 1,
            batch_size, workers, prepare_workers, skip_bad, seed, labels,
        )  # fmt: skip
        if neighbours:
            raise ValueError(f"neighbours={neighbours}: must be 0 in 3D; set data.neighbours=0")
        if target_repeat != 1:
            raise ValueError(f"target_repeat={target_repeat}: must be 1 in 3D; set data.centred")
        if not 0 <= centred <= 1:
            raise ValueError(f"centred={centred}: must be between 0 and 1")
        if patches_per_epoch is not None and patches_per_epoch < 1:
            raise ValueError(f"patches_per_epoch={patches_per_epoch}: must be at least 1")
        for name, values in (("spacing_mm", spacing_mm), ("patch", patch)):
            is_list = isinstance(values, list | tuple) and len(values) == 3
            triple = is_list and all(float(value) > 0 for value in values or ())
            options = "auto, null" if name == "spacing_mm" else "auto"
            if not (triple or values == "auto" or (values is None and name == "spacing_mm")):
                raise ValueError(f"{name}={values}: must be {options} or three numbers above 0")
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation={interpolation}: must be {' or '.join(INTERPOLATIONS)}")
        if augmentation is not None:
            augmentation.check_volumes(*([] if isinstance(patch, str) else [patch]))
        self.spacing_mm, self.interpolation, self.patch = spacing_mm, interpolation, patch
        self.patches_per_epoch, self.centred = patches_per_epoch, centred
        self._plan: Plan | None = None

    def _check_augmentation(self, augmentation: Augmentation, neighbours: int) -> None:
        """Do nothing: the transforms are checked on volumes, not on slices."""

    @property
    def plan(self) -> Plan:
        """Spacing, patch and poolings.

        Without `adapt`, there are as many poolings as the patch allows, and at most four.
        """
        if self._plan is None:
            self.adapt({})
        assert self._plan is not None
        return self._plan

    def adapt(self, network: dict[str, Any]) -> dict[str, Any]:
        """Plan for a network, given by its arguments; return them with strides and kernels.

        Those that are None are replaced. Others are kept.

        Raises:
            ValueError: the patch does not fit the network, or the volumes do not fit into memory.
        """
        self._plan = make_plan(
            *self._geometry(), self.spacing_mm, self.patch,
            network.get("depth"), network.get("width", 32), self.batch_size, network.get("strides"),
        )  # fmt: skip
        if "kernels" not in network:
            return network
        found = {"strides": self._plan.strides, "kernels": self._plan.kernels}
        return network | {name: found[name] for name in found if network[name] is None}

    def _geometry(self) -> tuple[list[Shape], list[Triple]]:
        """Return shapes and spacings of all cases; `prepare_data` says why a file cannot be read."""
        layouts, problems = [], []
        for case in self._find_cases():
            try:
                layouts.append(read_layout(case.image))
            except ValueError as error:
                problems.append(error)
        if not layouts:
            raise problems[0]
        return [each.turned_shape for each in layouts], [each.spacing_mm for each in layouts]

    @property
    def resolution(self) -> Resolution:
        return self.plan.spacing_mm, self.interpolation

    @property
    def chosen(self) -> dict[str, Any]:
        spacing_mm, patch = self.plan.spacing_mm, self.plan.patch
        return {"spacing_mm": spacing_mm and list(spacing_mm), "patch": list(patch)}

    def inputs(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "size": None, "neighbours": 0, "pixel_mm": self.pixel_range_mm(),
            "patch": plan.patch, "spacing_mm": plan.spacing_mm, "interpolation": self.interpolation,
        }  # fmt: skip

    def rows(self, epoch: int) -> Rows:
        """Return one number per patch of an epoch; none for stage two without the target region."""
        if self.target_only and not self._training_samples().cases_with:
            return np.arange(0)
        if (count := self.patches_per_epoch) is None:
            shapes = [self.store.images(case).shape for case in self.store.numbers(self.split.train)]
            count = math.ceil(sum(map(math.prod, shapes)) / math.prod(self.plan.patch))
        return np.arange(count)

    def _training_samples(self) -> RandomPatches:
        foreground = range(1, len(self.labels.classes))
        return RandomPatches(
            self.store,
            self.store.numbers(self.split.train),
            self.plan.patch,
            1.0 if self.target_only else self.centred,
            self.background_keep,
            list(self.labels.ids(self.labels.target) if self.target_only else foreground),
            self.augmentation,
            self.seed,
        )

    def _validation_samples(self) -> tuple[Dataset[Sample], Rows, npt.NDArray[np.int64]]:
        tiles = Tiles(self.store, self.store.numbers(self.split.validation), self.plan.patch)
        return tiles, np.arange(len(tiles.places)), tiles.in_case
