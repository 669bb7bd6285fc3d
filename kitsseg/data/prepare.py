"""From NIfTI to the store: each case checked and written once, atomically."""

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kitsseg.data.kits19 import Case
from kitsseg.data.nifti import read_case
from kitsseg.data.store import CARD, IMAGE, LABEL, Store
from kitsseg.grid import Grid
from kitsseg.labels import CLASSES


def prepare(cases: list[Case], folder: Path, size: int | None, workers: int = 1) -> Store:
    """Write what is missing or out of date of ``cases`` into ``folder`` and open it.

    Raises:
        ValueError: a line for each case that can't be used; the others are prepared.
    """
    missing = [c for c in cases if not is_current(c, folder)]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        problems = [p for p in _run(partial(prepare_case, folder=folder, size=size), missing, workers)]
        if any(problems):
            raise ValueError("\n".join(p for p in problems if p))
    return Store(folder, [c.id for c in cases])


def _run(job: partial[str], cases: list[Case], workers: int) -> Iterator[str]:
    bar = partial(tqdm, total=len(cases), desc="preparing cases", unit="case")
    if workers <= 1 or len(cases) == 1:
        yield from bar(map(job, cases))
        return
    # Spawned, not forked: the parent may already hold threads.
    with ProcessPoolExecutor(min(workers, len(cases)), mp_context=get_context("spawn")) as pool:
        yield from bar(pool.map(job, cases))


def fingerprint(case: Case) -> list[list[int]]:
    """Length in bytes and time of change of both files."""
    return [[f.stat().st_size, f.stat().st_mtime_ns] for f in (case.image, case.label)]


def is_current(case: Case, folder: Path) -> bool:
    """Whether the store holds this case as its files are now."""
    try:
        card = json.loads((folder / case.id / CARD).read_text())
    except (OSError, ValueError):
        return False
    return bool(card["files"] == fingerprint(case))


def prepare_case(case: Case, folder: Path, size: int | None) -> str:
    """Write one case; an empty string, or the problem in one line."""
    try:
        files = fingerprint(case)
        volume = read_case(case)
    except ValueError as error:
        return str(error)
    native = volume.image.shape[1:]
    grid = Grid((native[0], native[1]), size)
    label = grid.fit_label(volume.label)
    card = {
        "id": case.id,
        "files": files,
        "native": native,
        "size": size,
        "spacing_mm": volume.spacing_mm,
        "pixels": [np.bincount(plane.ravel(), minlength=len(CLASSES)).tolist() for plane in label],
    }
    temporary = folder / f".{case.id}-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        np.save(temporary / IMAGE, grid.fit_image(volume.image))
        np.save(temporary / LABEL, label)
        (temporary / CARD).write_text(json.dumps(card))
        _replace(temporary, folder / case.id)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return ""


def _replace(new: Path, target: Path) -> None:
    """Put folder ``new`` where ``target`` is or was; a folder can't be renamed over another."""
    if target.exists():
        old = target.with_name(f".old-{target.name}-{os.getpid()}")
        os.replace(target, old)
        shutil.rmtree(old, ignore_errors=True)
    os.replace(new, target)
