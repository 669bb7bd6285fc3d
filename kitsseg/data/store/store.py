"""The store of prepared cases: per case one ``.npy`` of int16 HU and one of uint8 class ids."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.data.case import Case
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.store.grid import Grid
from kitsseg.data.store.volume_grid import VolumeGrid

VERSION = 2
# Of slices: their side in pixels, None for that of each case. Of volumes: spacing in mm, None for that
# of each case, and interpolation.
Resolution = int | tuple[tuple[float, float, float] | None, str] | None
IMAGE, LABEL, CARD = "image.npy", "label.npy", "case.json"


def store_folder(
    prepared: str | Path,
    root: Path,
    resolution: Resolution,
    labels: Labels = KITS19,
    options: Sequence[Any] = (),
) -> Path:
    """Return the folder of the store of a data set, read with ``options`` of its source.

    The name does not depend on the versions of the files, which are in the card of each case.
    """
    root, about = root.resolve(), [VERSION, str(root.resolve()), resolution]
    if (list(labels.classes), labels.stored) != (list(KITS19.classes), KITS19.stored):
        about += [list(labels.classes), sorted(labels.stored.items())]
    about += options
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:8]
    name = "native" if resolution is None else str(resolution)
    if isinstance(resolution, tuple):
        spacing_mm = resolution[0]
        name = "voxels" if spacing_mm is None else "x".join(f"{mm:.4g}" for mm in spacing_mm) + "mm"
    return Path(prepared) / f"{root.name}-{name}-{key}"


@dataclass(frozen=True)
class Index:
    """All stored slices, sorted by case and position."""

    case: npt.NDArray[np.int64]  # [N], index of the case in `Store.ids`
    z: npt.NDArray[np.int64]  # [N], index of the slice in its case
    pixels: npt.NDArray[np.int64]  # [N, classes], number of pixels per class

    @property
    def foreground(self) -> npt.NDArray[np.bool_]:
        """``[N]``, whether the slice contains any class but the background."""
        return np.asarray(self.pixels[:, 1:].any(axis=1))

    def contains(self, classes: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Return ``[N]``, whether the slice contains one of these class ids."""
        return np.asarray(self.pixels[:, list(classes)].any(axis=1))


def make_grid(
    native: Sequence[int], spacing_mm: Sequence[float], resolution: Resolution
) -> Grid | VolumeGrid:
    """Return the mapping of a native volume ``[S, H, W]`` with that spacing to its stored version."""
    slices, height, width = native
    if isinstance(resolution, tuple):
        return VolumeGrid.at_spacing((slices, height, width), spacing_mm, *resolution)
    return Grid.at_spacing((height, width), spacing_mm, resolution)


class Store:
    """Read access to the cases ``ids`` in ``folder``, written by `kitsseg.data.store.prepare`."""

    def __init__(self, folder: Path, ids: list[str]) -> None:
        self.folder, self.ids = folder, ids
        self.cards = [json.loads((folder / i / CARD).read_text()) for i in ids]
        counts = [np.asarray(card["pixels"], np.int64) for card in self.cards]
        lengths = [len(c) for c in counts]
        self.index = Index(
            case=np.repeat(np.arange(len(ids)), lengths),
            z=np.concatenate([np.arange(n) for n in lengths]),
            pixels=np.concatenate(counts),
        )
        self._open = cache(self._open_file)  # one memory map per file and process

    def __reduce__(self) -> tuple[type["Store"], tuple[Path, list[str]]]:
        return Store, (self.folder, self.ids)

    def images(self, case: int) -> npt.NDArray[np.int16]:
        """Return the HU ``[S, H, W]`` of a case, memory-mapped."""
        return self._open(case, IMAGE)

    def labels(self, case: int) -> npt.NDArray[np.uint8]:
        """Return the class ids ``[S, H, W]`` of a case, memory-mapped."""
        return self._open(case, LABEL)

    def grid(self, case: int) -> Grid | VolumeGrid:
        """Return the mapping between native and stored slices, or the resampled volume, of a case."""
        card = self.cards[case]
        if isinstance(card["size"], list):
            resampled_mm, interpolation = card["size"]
            spacing_mm = None if resampled_mm is None else tuple(resampled_mm)
            return make_grid(card["native"], card["spacing_mm"], (spacing_mm, interpolation))
        return make_grid((len(card["pixels"]), *card["native"]), card["spacing_mm"], card["size"])

    @property
    def hashes(self) -> dict[str, dict[str, str]]:
        """The SHA-256 of ``image`` and ``label`` by case."""
        return {i: card["sha256"] for i, card in zip(self.ids, self.cards, strict=True)}

    def numbers(self, ids: Iterable[str]) -> list[int]:
        """Return the indices of cases in `ids`."""
        return [self.ids.index(case) for case in ids]

    def foreground_hu(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Return ``[2, N]``: the HU of the foreground of cases, and the number of voxels of each."""
        found = [self.cards[case]["foreground_hu"] for case in self.numbers(ids)]
        return np.concatenate([np.asarray(each, np.int64) for each in found], axis=1)

    def with_target(self, cases: Iterable[Case], classes: Sequence[int]) -> list[Case]:
        """Return the cases with a column ``target``: ``present`` if a class of ``classes`` occurs."""
        present = np.bincount(self.index.case, self.index.contains(classes)) > 0
        columns = [{"target": "present" if found else "absent"} for found in present]
        return [replace(c, about={**t, **c.about}) for c, t in zip(cases, columns, strict=True)]

    def _open_file(self, case: int, name: str) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = np.load(self.folder / self.ids[case] / name, mmap_mode="r")
        return array
