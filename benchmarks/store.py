"""Rate of random reads from a prepared store, and the time to open a store of 210 cases.

    python benchmarks/store.py --folder DIR

A store of 512 x 512 slices is written into DIR once: 10 cases of 200 slices with voxels, and 200
cases of KiTS19's median length as sparse files, which are only opened.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from kitsseg.data.case import IMAGE_NAME, LABEL_NAME, Case
from kitsseg.data.labels import KITS19
from kitsseg.data.store.prepare import file_versions, is_current, prepare
from kitsseg.data.store.store import CARD, IMAGE, LABEL, Store

FULL, FULL_SLICES, CASES, SLICES, SIZE = 10, 200, 210, 216, 512  # 45,200 slices in all
DRAWS = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    cases = fill(args.folder)
    opening, memory, memmap, ours = [], [], [], []
    for _ in range(args.repeats):
        start = time.perf_counter()
        store = prepare(cases, args.folder / "store", None)  # also checks whether a case has changed
        opening.append(time.perf_counter() - start)
        raw = [np.load(store.folder / store.ids[case] / IMAGE, mmap_mode="r") for case in range(FULL)]
        rng = np.random.default_rng(0)
        draws = list(zip(rng.integers(0, FULL, DRAWS), rng.integers(0, FULL_SLICES, DRAWS), strict=True))
        buffer = np.empty((SIZE, SIZE), np.int16)
        copies = [np.array(volume) for volume in raw]  # the upper limit of this machine
        memory.append(rate(lambda case, z: np.copyto(buffer, copies[case][z]), draws))  # noqa: B023
        memmap.append(rate(lambda case, z: np.copyto(buffer, raw[case][z]), draws))  # noqa: B023
        ours.append(rate(lambda case, z: np.copyto(buffer, store.images(case)[z]), draws))  # noqa: B023
    print(
        f"numpy {version('numpy')}; {len(cases)} cases, {len(store.index.z)} slices; "
        f"medians of {args.repeats}"
    )
    print(f"opening the store: {statistics.median(opening):.3f} s")
    print(f"copies in memory: {statistics.median(memory):,.0f} slices per second")
    print(f"bare memory maps: {statistics.median(memmap):,.0f} slices per second")
    print(f"kitsseg's store:  {statistics.median(ours):,.0f} slices per second")


def rate(read: Callable[[int, int], None], draws: list[tuple[int, int]]) -> float:
    """Return slices per second."""
    start = time.perf_counter()
    for case, z in draws:
        read(case, z)
    return len(draws) / (time.perf_counter() - start)


def fill(folder: Path) -> list[Case]:
    """Write the store if it is missing, and return its cases, whose own files are empty."""
    rng = np.random.default_rng(0)
    cases = []
    for number in range(CASES):
        raw = folder / "cases" / f"case_{number:05d}"
        case = Case(raw.name, raw / IMAGE_NAME, raw / LABEL_NAME)
        cases.append(case)
        target = folder / "store" / case.id
        if is_current(case, target.parent):
            continue
        raw.mkdir(parents=True, exist_ok=True)
        target.mkdir(parents=True, exist_ok=True)
        case.image.touch()
        case.truth.touch()
        shape = (FULL_SLICES if number < FULL else SLICES, SIZE, SIZE)
        for file, dtype in ((IMAGE, np.int16), (LABEL, np.uint8)):
            array = np.lib.format.open_memmap(target / file, "w+", dtype, shape)
            if number < FULL and file == IMAGE:
                array[:] = rng.integers(-1024, 1000, shape, np.int16)
            del array
        card = {
            "files": file_versions(case),
            "stored": list(case.stored.items()),
            "hu": dict.fromkeys(["range", *KITS19.classes]),
            "bytes": [(target / name).stat().st_size for name in (IMAGE, LABEL)],
            "native": [SIZE, SIZE],
            "size": None,
            "spacing_mm": [3, 0.8, 0.8],
            "pixels": [[SIZE * SIZE - 900, 600, 300]] * shape[0],
        }
        (target / CARD).write_text(json.dumps(card))
    store = Store(folder / "store", [case.id for case in cases])
    for number in range(FULL):  # fills the page cache
        store.images(number).sum()
    return cases


if __name__ == "__main__":
    main()
