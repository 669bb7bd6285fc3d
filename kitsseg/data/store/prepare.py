"""From NIfTI to the store: each case checked and written once, atomically."""

import errno
import io
import json
import logging
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np

from kitsseg.data.case import Case
from kitsseg.data.case_statistics import hu_percentiles, pixels_by_slice
from kitsseg.data.io import past_cache
from kitsseg.data.labels import CLASSES, KIDNEY, TUMOUR
from kitsseg.data.parallel import over_cases
from kitsseg.data.sources.kits import lacking
from kitsseg.data.store.grid import Grid
from kitsseg.data.store.store import CARD, IMAGE, LABEL, Store
from kitsseg.system.files import remove_abandoned
from kitsseg.system.locks import StoppedError, locked

log = logging.getLogger("kitsseg")

LEFT_BEHIND = re.compile(r"\.(case_\d+)(?:-new|-old|\.lock)")


class BadCasesError(ValueError):
    """Cases can't be used: a line each."""


@dataclass
class Outcome:
    """What came of a case: the problem because of which it isn't in the store, or none ("").

    ``notes`` are what to look at though it is, a line each with the file and the remedy.
    """

    problem: str = ""
    notes: list[str] = field(default_factory=list)


def prepare(
    cases: list[Case], folder: Path, size: int | None, workers: int = 1, skip_bad: bool = False
) -> Store:
    """Write what is missing or out of date of ``cases`` into ``folder`` and open it.

    Several processes may do so at once: a case is prepared by one of them, and the others wait. What
    was prepared before an interruption stays.

    Args:
        size: see `kitsseg.data.store.grid.Grid`.
        workers: processes; each holds one case at a time, at most three times its size as int16.
        skip_bad: go on without the cases that can't be used, with a warning for each.

    Raises:
        BadCasesError: cases that can't be used; the others are prepared.
        ValueError: the disk's problem, or no case is left.
    """
    remove_leftovers(folder)
    missing = [c for c in cases if not is_current(c, folder)]
    done: dict[str, Outcome] = {}
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            job = partial(prepare_case, folder=folder, size=size)
            results = over_cases(job, missing, workers, "preparing cases")
            done = dict(zip((c.id for c in missing), results, strict=True))
        except OSError as error:
            raise ValueError(_about_disk(error, cases, folder)) from error
    problems = {id_: each.problem for id_, each in done.items() if each.problem}
    for note in (note for each in done.values() for note in each.notes):
        log.warning(note)
    if problems and not skip_bad:
        raise BadCasesError("\n".join(problems.values()))
    for problem in problems.values():
        log.warning(f"left out: {problem}")
    good = [c.id for c in cases if c.id not in problems]
    if not good:
        raise ValueError(f"none of the {len(cases)} cases can be used")
    return Store(folder, good)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a store, of cases as well that nobody prepares again.

    What another process is at stays, and so does all in a folder that can't be written to.
    """
    found = (LEFT_BEHIND.fullmatch(path.name) for path in folder.glob(".*"))
    for case in sorted({match[1] for match in found if match}):
        at_once = Event()
        at_once.set()
        with suppress(StoppedError, OSError), locked(folder / case, at_once, lambda note: None):
            _clear(folder, case)
    remove_abandoned(folder)


def _clear(folder: Path, case: str) -> tuple[Path, Path]:
    """Remove a killed process's folders of a case that this one holds; where they were."""
    temporary, old = (folder / f".{case}-{kind}" for kind in ("new", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return temporary, old


def _about_disk(error: OSError, cases: list[Case], folder: Path) -> str:
    done = sum(is_current(c, folder) for c in cases)
    remedy = f"{done} of {len(cases)} cases are prepared, and the same command goes on from there"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{folder}: the disk is full; make room or set data.prepared to another folder: {remedy}"
    return f"{error.filename or folder}: {error.strerror or error}; {remedy}"


def fingerprint(case: Case) -> list[list[int]]:
    """Length in bytes and time of change of both files."""
    return [[f.stat().st_size, f.stat().st_mtime_ns] for f in (case.image, case.label)]


def is_current(case: Case, folder: Path) -> bool:
    """Whether the store holds this case, whole, as its files are now."""
    kept = folder / case.id
    try:
        card = json.loads((kept / CARD).read_text())
        whole = card["bytes"] == [(kept / name).stat().st_size for name in (IMAGE, LABEL)]
        same = card["files"] == fingerprint(case) and card["classes"] == list(case.classes)
    except (OSError, ValueError, KeyError):
        return False
    return bool(whole and same)


def prepare_case(case: Case, folder: Path, size: int | None) -> Outcome:
    """Write one case unless another process did so meanwhile.

    Raises:
        OSError: the folder can't be written to.
    """
    with locked(folder / case.id, Event(), lambda note: None):
        # Only what a killed process left behind can be there now.
        temporary, old = _clear(folder, case.id)
        if is_current(case, folder):
            return Outcome()
        temporary.mkdir()
        try:
            notes = _write_case(case, temporary, size)
            target = folder / case.id
            if target.exists():
                os.replace(target, old)  # a folder can't be renamed over another
            os.replace(temporary, target)
        except ValueError as error:
            return Outcome(str(error))
        except MemoryError:
            return Outcome(f"{case.image}: doesn't fit into memory; set data.prepare_workers=1")
        finally:
            _clear(folder, case.id)
    return Outcome(notes=notes)


def _write_case(case: Case, folder: Path, size: int | None) -> list[str]:
    """The notes on it."""
    # nibabel takes a tenth of a second, which what is prepared already needn't wait for.
    from kitsseg.data.io.hu_checks import ABOUT_OFFSET, OFFSET, image_problems, is_offset
    from kitsseg.data.io.nifti import check_same_grid, read_image, read_mask

    if problems := lacking(case):
        raise ValueError(problems[0])
    try:
        files = fingerprint(case)
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}; fetch it again") from error
    image = read_image(case.image)
    if problems := image_problems(case.image, image):
        raise ValueError(problems[0])
    notes = []
    if is_offset(image):
        notes.append(f"{case.image}: {ABOUT_OFFSET}; if so, subtract {OFFSET}")
    height, width = image.hu.shape[1:]
    grid = Grid((height, width), size)
    with ThreadPoolExecutor(1) as beside:  # the disk writes while the rest is computed
        written = [beside.submit(_save, folder / IMAGE, grid.fit_image(image.hu))]
        mask = read_mask(case.label, case.classes)
        check_same_grid(case.label, mask.layout, image.layout)
        label = grid.fit_label(mask.label)
        written.append(beside.submit(_save, folder / LABEL, label))
        pixels = pixels_by_slice(label)
        percentiles = hu_percentiles(image.hu, mask.label)
        for file in written:
            file.result()
    card = {
        "id": case.id,
        "files": files,
        "classes": case.classes,
        "bytes": [(folder / name).stat().st_size for name in (IMAGE, LABEL)],
        "native": [height, width],
        "size": size,
        "spacing_mm": image.layout.spacing_mm,
        "hu": {"range": image.range_hu, **percentiles},
        "pixels": pixels.tolist(),
    }
    (folder / CARD).write_text(json.dumps(card))
    if percentiles[CLASSES[KIDNEY]] is percentiles[CLASSES[TUMOUR]] is None:
        notes.append(f"{case.label}: is background alone; fetch it again, or exclude the case")
    return notes


def _save(path: Path, array: np.ndarray) -> None:
    """A file for `np.load`, as `np.save` writes it but for more space behind its header."""
    told = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False}
    with io.BytesIO() as start:
        np.lib.format.write_array_header_1_0(start, told | {"shape": array.shape})
        header = start.getvalue()
    length = past_cache.BLOCK - 10  # where its values then lie is a place that a disk writes at
    header = header[:8] + length.to_bytes(2, "little") + header[10:-1].ljust(length - 1) + b"\n"
    past_cache.write(path, [header, array.data.cast("B")])
