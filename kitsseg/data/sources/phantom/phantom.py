"""Synthetic abdominal CTs in the layout of KiTS19, drawn on first use."""

import gzip
import hashlib
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from kitsseg.data.case import IMAGE_NAME, LABEL_NAME, Case
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.parallel import over_cases
from kitsseg.data.sources.kits import list_cases
from kitsseg.data.sources.phantom import anatomy

MIN_SLICES, MIN_SIZE = 8, 64  # coarser grids can miss small tumours
MAX_CASES = 100_000  # case_00000 has five digits


class Phantom:
    """Data set of synthetic cases with ``slices`` slices of ``size`` x ``size`` pixels.

    A case depends on ``seed`` and its number. It does not depend on ``cases``, nor on the number of
    drawing processes, ``workers``.
    """

    def __init__(
        self, cases: int = 40, slices: int = 24, size: int = 128, seed: int = 0, workers: int = 2
    ) -> None:
        self.cases, self.slices, self.size, self.seed, self.workers = cases, slices, size, seed, workers
        least = {"cases": 1, "slices": MIN_SLICES, "size": MIN_SIZE, "seed": 0, "workers": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least {low}")
        if cases > MAX_CASES:
            raise ValueError(f"cases={cases}: must be at most {MAX_CASES}")

    @property
    def key(self) -> str:
        """Name of the folder. It changes with everything that changes the voxels."""
        content = [anatomy.VERSION, self.cases, self.slices, self.size, self.seed]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]
        return f"{self.cases}x{self.slices}x{self.size}-seed{self.seed}-{digest}"

    def find(self, root: str | Path, labels: Labels = KITS19) -> list[Case]:
        """Draw missing cases into ``root/key`` and return all cases, sorted by id."""
        folder = Path(root) / self.key
        existing = {case.id for case in list_cases(folder)}
        missing = [i for i in range(self.cases) if f"case_{i:05d}" not in existing]
        if missing:
            folder.mkdir(parents=True, exist_ok=True)
            draw = partial(write_case, folder, self.seed, slices=self.slices, size=self.size)
            list(over_cases(draw, missing, self.workers, "drawing phantom"))
        return list_cases(folder, labels)


def write_case(folder: Path, seed: int, case: int, slices: int, size: int) -> None:
    """Draw one case into a temporary folder and rename it, unless another process has written it."""
    hu, labels, spacing_mm = anatomy.draw(seed, case, slices, size)
    target = folder / f"case_{case:05d}"
    part = folder / f".{target.name}-{uuid4().hex}"
    part.mkdir()
    try:
        _write_nifti(part / IMAGE_NAME, hu, spacing_mm)
        _write_nifti(part / LABEL_NAME, labels, spacing_mm)
        os.replace(part, target)
    except OSError as error:
        if not target.is_dir():
            raise
        if target.name not in {done.id for done in list_cases(folder)}:
            problem = f"lacks {IMAGE_NAME} or {LABEL_NAME}; delete the folder and run again"
            raise ValueError(f"{target}: {problem}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_nifti(path: Path, voxels: npt.NDArray[Any], spacing_mm: tuple[float, float, float]) -> None:
    """Write voxels as in KiTS19: axes to inferior, posterior and left, the first voxel at the origin."""
    import nibabel as nib  # slow to import and needed for drawing only

    z, y, x = spacing_mm
    affine = np.array([[0, 0, -x, 0], [0, -y, 0, 0], [-z, 0, 0, 0], [0, 0, 0, 1]])
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    # Level 1 is fast and hardly larger. Without a time stamp, equal voxels give equal files.
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
