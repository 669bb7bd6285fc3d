"""The embedded data set: synthetic abdominal CTs in KiTS19's layout, drawn when first needed."""

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kitsseg.data.case import IMAGE_NAME, LABEL_NAME, Case
from kitsseg.data.sources.kits import list_cases
from kitsseg.data.sources.phantom import anatomy

MIN_SLICES, MIN_SIZE = 8, 64  # coarser grids miss small tumours
MAX_CASES = 100_000  # case_00000 has five digits


class Phantom:
    """`cases` volumes of `slices` x `size` x `size` voxels, each drawn from `seed` and its number.

    `workers` processes draw; their number changes nothing in the files.
    """

    def __init__(
        self, cases: int = 40, slices: int = 24, size: int = 128, seed: int = 0, workers: int = 2
    ) -> None:
        _check_at_least("cases", cases, 1)
        _check_at_least("slices", slices, MIN_SLICES)
        _check_at_least("size", size, MIN_SIZE)
        _check_at_least("seed", seed, 0)
        _check_at_least("workers", workers, 1)
        if cases > MAX_CASES:
            raise ValueError(f"cases={cases} is above {MAX_CASES}; set cases={MAX_CASES} or fewer")
        self.cases = cases
        self.slices = slices
        self.size = size
        self.seed = seed
        self.workers = workers

    @property
    def key(self) -> str:
        """The folder's name: readable, and another one whenever the voxels would differ."""
        content = [anatomy.VERSION, self.cases, self.slices, self.size, self.seed]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]
        return f"{self.cases}x{self.slices}x{self.size}-seed{self.seed}-{digest}"

    def find(self, root: str | Path) -> list[Case]:
        """The cases below `root/key`, sorted by id; those not yet there are drawn first."""
        folder = Path(root) / self.key
        there = {case.id for case in list_cases(folder)}
        missing = [i for i in range(self.cases) if _name(i) not in there]
        if missing:
            folder.mkdir(parents=True, exist_ok=True)
            bar = tqdm(desc="drawing phantom", total=len(missing), unit="case")
            with bar:
                for _ in self._draw(folder, missing):
                    bar.update()
        return list_cases(folder)

    def _draw(self, folder: Path, missing: list[int]) -> Iterator[None]:
        todo = (repeat(folder), repeat(self.seed), missing, repeat(self.slices), repeat(self.size))
        workers = min(self.workers, len(missing))
        if workers == 1:
            yield from map(write_case, *todo)
        else:
            with ProcessPoolExecutor(workers) as pool:
                yield from pool.map(write_case, *todo)


def write_case(folder: Path, seed: int, case: int, slices: int, size: int) -> None:
    """Draw one case and put it in place in one step: no reader ever sees half of it."""
    hu, labels, spacing_mm = anatomy.draw(seed, case, slices, size)
    target = folder / _name(case)
    part = folder / f".{target.name}-{uuid4().hex}"
    part.mkdir()
    try:
        _write_nifti(part / IMAGE_NAME, hu, spacing_mm)
        _write_nifti(part / LABEL_NAME, labels, spacing_mm)
        os.replace(part, target)
    except OSError as error:
        if not target.is_dir():
            raise
        # Another process was first; its files equal ours, unless somebody took one away.
        if target.name not in {done.id for done in list_cases(folder)}:
            raise ValueError(
                f"{target} lacks {IMAGE_NAME} or {LABEL_NAME}; delete that folder and run again"
            ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_nifti(path: Path, voxels: NDArray[Any], spacing_mm: tuple[float, float, float]) -> None:
    """KiTS19's grid: axes to inferior, posterior, left, and the first voxel at the origin."""
    import nibabel as nib  # takes a tenth of a second, which what is drawn already needn't wait for

    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = (-mm for mm in spacing_mm)
    affine[3, 3] = 1
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    # Level 1 is fast and hardly larger; without a time stamp, equal voxels make equal files.
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))


def _name(case: int) -> str:
    return f"case_{case:05d}"


def _check_at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise ValueError(f"{name}={value} is below {low}; set {name}={low} or more")
