"""Prepared slices: one memory-mapped ``.npy`` of int16 HU and one of uint8 classes a case."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from kitsseg.data.store.grid import Grid

VERSION = 2
IMAGE, LABEL, CARD = "image.npy", "label.npy", "case.json"


def store_folder(prepared: str | Path, root: Path, size: int | None) -> Path:
    """Where the slices of ``root`` at ``size`` lie: named by all that determines them but the files.

    The files' own lengths and times are in each case's card, so a changed file is prepared again.
    """
    root = root.resolve()
    key = hashlib.sha256(json.dumps([VERSION, str(root), size]).encode()).hexdigest()[:8]
    return Path(prepared) / f"{root.name}-{'native' if size is None else size}-{key}"


@dataclass(frozen=True)
class Index:
    """Every stored slice, one row each, sorted by case and position.

    Attributes:
        case: ``[N]``, the case's number in the store's list of ids.
        z: ``[N]``, the slice's number in its case.
        pixels: ``[N, classes]``, how many of its pixels have each class.
    """

    case: np.ndarray
    z: np.ndarray
    pixels: np.ndarray

    @property
    def foreground(self) -> np.ndarray:
        """``[N]`` bool: there is kidney or tumour."""
        return np.asarray(self.pixels[:, 1:].any(axis=1))

    @property
    def has_tumour(self) -> np.ndarray:
        """``[N]`` bool."""
        return self.pixels[:, 2] > 0


class Store:
    """The prepared cases ``ids`` in ``folder`` (which `kitsseg.data.store.prepare` fills)."""

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
        # Bound per store: workers inherit or rebuild it, and a file is opened once a process.
        self._open = cache(lambda case, name: np.load(folder / ids[case] / name, mmap_mode="r"))

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "ids": self.ids}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def images(self, case: int) -> np.ndarray:
        """``[S, H, W]`` int16, memory-mapped."""
        return self._open(case, IMAGE)

    def labels(self, case: int) -> np.ndarray:
        """``[S, H, W]`` uint8, memory-mapped."""
        return self._open(case, LABEL)

    def grid(self, case: int) -> Grid:
        """How the case's slices lie on its own grid."""
        height, width = self.cards[case]["native"]
        return Grid((height, width), self.cards[case]["size"])
