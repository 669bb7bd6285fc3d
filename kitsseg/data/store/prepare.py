"""Preparation of cases: check the files, write the slices into the store, atomically per case."""

import errno
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.data.case import Case
from kitsseg.data.case_statistics import foreground_histogram, hu_percentiles, pixels_by_slice
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.parallel import over_cases
from kitsseg.data.sources.kits import missing_files
from kitsseg.data.store.store import CARD, IMAGE, LABEL, Resolution, Store, make_grid
from kitsseg.system.files import file_version, fingerprint
from kitsseg.system.locks import locked

VERSION = 4  # version of a stored case; 4 made the pixels of slices square

Note = tuple[Path, str]  # a file, and what is doubtful about it

log = logging.getLogger("kitsseg")


class BadCasesError(ValueError):
    """Some cases cannot be used. The message has one line per case."""


def prepare(
    cases: list[Case],
    folder: Path,
    resolution: Resolution,
    workers: int = 1,
    skip_bad: bool = False,
    labels: Labels = KITS19,
) -> Store:
    """Prepare missing and outdated cases in ``folder``, and return the opened store.

    Several processes may prepare the same store at once; each case is prepared by one of them. After an
    interruption, prepared cases are kept. For ``resolution``, see `make_grid`. Each of the ``workers``
    processes needs up to three times the size of a volume as int16.

    Raises:
        BadCasesError: some cases cannot be used. With ``skip_bad``, they are left out with a warning.
        ValueError: the folder cannot be written, or no case is usable.
    """
    missing = [c for c in cases if not is_current(c, folder, labels)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        job = partial(prepare_case, folder=folder, resolution=resolution, labels=labels)
        outcomes = list(over_cases(job, missing, workers, "preparing cases")) if missing else []
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = f"{folder}: the disk is full; free some space or change data.prepared"
        done = f"{sum(is_current(c, folder, labels) for c in cases)} of {len(cases)} cases are prepared"
        raise ValueError(f"{reason}; {done}; run the same command again to resume") from error
    problems = {c.id: problem for c, (problem, _) in zip(missing, outcomes, strict=True) if problem}
    for line in _merge(note for _, notes in outcomes for note in notes):
        log.warning(line)
    if problems and not skip_bad:
        raise BadCasesError("\n".join(problems.values()))
    for problem in problems.values():
        log.warning(f"left out: {problem}")
    good = [c.id for c in cases if c.id not in problems]
    if not good:
        raise ValueError(f"none of the {len(cases)} cases can be used; see the warnings above")
    return Store(folder, good)


def file_versions(case: Case) -> list[list[int]]:
    """Return size in bytes and modification time in ns of image and label."""
    return [file_version(file) for file in (case.image, case.truth)]


def is_current(case: Case, folder: Path, labels: Labels = KITS19) -> bool:
    """Return whether the store contains the case, complete and made from these files and labels."""
    stored = folder / case.id
    try:
        card = json.loads((stored / CARD).read_text())
        return bool(
            card["version"] == VERSION
            and card["bytes"] == [(stored / name).stat().st_size for name in (IMAGE, LABEL)]
            and card["files"] == file_versions(case)
            and dict(card["stored"]) == case.stored
            and list(card["hu"]) == ["range", *labels.classes]
            and card["offset_hu"] == case.offset_hu
        )
    except (OSError, ValueError, KeyError):
        return False


def prepare_case(
    case: Case, folder: Path, resolution: Resolution, labels: Labels = KITS19
) -> tuple[str, list[Note]]:
    """Prepare one case unless another process has done so; raise `OSError` if it cannot be written.

    Returns why the case cannot be used (empty if it can), and warnings.
    """
    target, temporary = folder / case.id, folder / f".{case.id}-new"
    with locked(target):
        shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process; this one has the lock
        if is_current(case, folder, labels):
            return "", []
        temporary.mkdir()
        try:
            notes = _write_case(case, temporary, resolution, labels)
            shutil.rmtree(target, ignore_errors=True)  # os.replace cannot overwrite a folder
            os.replace(temporary, target)
            return "", notes
        except ValueError as error:
            return str(error), []
        except MemoryError:
            return f"{case.image}: does not fit into memory; set data.prepare_workers=1", []
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _write_case(case: Case, folder: Path, resolution: Resolution, labels: Labels) -> list[Note]:
    """Read, check and write one case into ``folder``; return warnings."""
    # nibabel is slow to import, and a prepared store does not need it.
    from kitsseg.data.io.nifti.read import check_same_grid, read_label_volume
    from kitsseg.data.io.read_scan import read_image

    if problems := missing_files(case):
        raise ValueError(problems[0])
    files = file_versions(case)
    image = read_image(case.image, case.offset_hu, case.remedy)
    grid = make_grid(image.hu.shape, image.layout.spacing_mm, resolution)
    with ThreadPoolExecutor(1) as writer:  # writing overlaps with computing
        writes = [writer.submit(_save, folder / IMAGE, grid.fit_image(image.hu))]
        truth = read_label_volume(case.truth, case.stored, case.remedy)
        check_same_grid(case.truth, truth.layout, image.layout)
        label = grid.fit_label(truth.label)
        writes.append(writer.submit(_save, folder / LABEL, label))
        pixels = pixels_by_slice(label, len(labels.classes)).tolist()
        percentiles = hu_percentiles(image.hu, truth.label, labels.classes)
        histogram = foreground_histogram(image.hu, truth.label)
        for write in writes:
            write.result()
    card = {
        "id": case.id,
        "version": VERSION,
        "files": files,
        "sha256": {"image": fingerprint(case.image), "label": fingerprint(case.truth)},
        "stored": list(case.stored.items()),
        "offset_hu": case.offset_hu,
        "warnings": image.warnings,
        "bytes": [(folder / name).stat().st_size for name in (IMAGE, LABEL)],
        "native": grid.native,
        "size": resolution,
        "spacing_mm": image.layout.spacing_mm,
        "hu": {"range": image.range_hu, **percentiles},
        "foreground_hu": histogram,
        "pixels": pixels,
    }
    (folder / CARD).write_text(json.dumps(card))
    notes = [(case.image, warning) for warning in image.warnings]
    if not any(percentiles[name] for name in labels.classes[1:]):
        notes.append((case.truth, f"contains only background; {case.remedy}, or exclude the case"))
    return notes


def _merge(notes: Iterable[Note]) -> Iterator[str]:
    """Write warnings about files one per line, and those with the same text in one line."""
    files: dict[str, list[Path]] = {}
    for path, text in notes:
        files.setdefault(text, []).append(path)
    for text, paths in files.items():
        n = len(paths) - 1
        others = f" and {n} other file{'s' * (n > 1)}" if n else ""
        yield f"{paths[0]}{others}: {text}"


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a ``.npy`` file. Unlike `np.save`, keep the errno of a full disk."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)
