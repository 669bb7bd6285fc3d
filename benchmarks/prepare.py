"""Time to prepare cases, compared with reading alone and with nnU-Net's 2d preprocessing.

    python benchmarks/prepare.py --folder DIR [--nnunet PYTHON] [--long]

Full-size cases (512 x 512, 100-300 slices) are drawn into DIR once. All programs are measured in
turn, `--repeats` times, with the same number of processes; use the ratios of the medians. PYTHON is
the interpreter of an environment with nnunetv2 (see benchmarks/README.md). `--long` measures the
peak memory of one worker on a volume of 1059 slices.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import ratios

from kitsseg.data.case import Case
from kitsseg.data.io.nifti.header import parse_layout
from kitsseg.data.io.nifti.read import check_same_grid, read_label_volume
from kitsseg.data.io.nifti.stream import Stream
from kitsseg.data.io.read_scan import read_image
from kitsseg.data.parallel import ENVIRONMENT
from kitsseg.data.sources.kits import list_cases
from kitsseg.data.sources.phantom.phantom import write_case
from kitsseg.data.store.prepare import prepare_case

SLICES = (100, 300, 140, 260, 180, 220)
LONGEST = 1059  # case_00151


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--nnunet", help="Python of an environment with nnunetv2")
    parser.add_argument("--long", action="store_true")
    args = parser.parse_args()
    cases = draw(
        args.folder / "cases", [SLICES[i % len(SLICES)] for i in range(args.cases)], args.workers
    )
    print(f"{len(cases)} cases, {megabytes(cases):.0f} MB compressed; {args.workers} processes")
    jobs: dict[str, Callable[[], float]] = {
        f"read: {name}": partial(timed_pool, reader, cases, args.workers)
        for name, reader in readers().items()
    }
    for size in (None, 256):
        jobs[f"kitsseg prepare, data.size={'null' if size is None else size}"] = partial(
            timed_prepare, cases, size, args.workers
        )
    if args.nnunet is not None:
        jobs["nnU-Net 2d preprocessing"] = partial(timed_nnunet, args.nnunet, cases, args.workers)
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(args.repeats):
        for name, job in jobs.items():
            seconds[name].append(job() / len(cases))
    report(seconds)
    if args.long:
        report_memory(args.folder)


def draw(folder: Path, slices: list[int], workers: int) -> list[Case]:
    """Draw phantom cases with these numbers of slices, unless they exist, and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    existing = {case.id for case in list_cases(folder)}
    missing = [n for n in range(len(slices)) if f"case_{n:05d}" not in existing]
    with ProcessPoolExecutor(workers) as pool:
        args = ([folder] * len(missing), [0] * len(missing), missing, [slices[n] for n in missing])
        list(pool.map(write_case, *args, [512] * len(missing)))
    return list_cases(folder)[: len(slices)]


def megabytes(cases: list[Case]) -> float:
    """Return the size of all files in MB."""
    return sum(path.stat().st_size for case in cases for path in (case.image, case.truth)) / 1e6


def readers() -> dict[str, Callable[[Case], object]]:
    """Return the ways to read both volumes of a case into memory."""
    found: dict[str, Callable[[Case], object]] = {
        f"isal {version('isal')}": read_isal,
        f"nibabel {version('nibabel')}": read_nibabel,
        "kitsseg (reoriented and checked)": read_kitsseg,
    }
    try:
        found[f"SimpleITK {version('SimpleITK')}"] = read_simpleitk
    except ImportError:
        print("SimpleITK is not installed and is left out")
    return found


def read_kitsseg(case: Case) -> object:
    image, mask = read_image(case.image, case.offset_hu), read_label_volume(case.truth, case.stored)
    check_same_grid(case.truth, mask.layout, image.layout)
    return image, mask


def read_isal(case: Case) -> object:
    return [_read(path) for path in (case.image, case.truth)]


def _read(path: Path) -> npt.NDArray[Any]:
    with Stream(path) as stream:
        layout = parse_layout(stream)
        out = np.empty(layout.shape[::-1], layout.dtype)
        stream.skip(layout.offset)
        stream.fill(out.data.cast("B"))
        stream.finish()
    return out


def read_nibabel(case: Case) -> object:
    images = [nib.nifti1.load(path) for path in (case.image, case.truth)]
    return [np.asanyarray(image.dataobj) for image in images]


def read_simpleitk(case: Case) -> object:
    import SimpleITK

    return [SimpleITK.ReadImage(path) for path in (case.image, case.truth)]


def _drop(job: Callable[[Case], object], case: Case) -> None:
    job(case)  # do not send the result to the parent process


def _ready(case: Case) -> None:
    pass


def timed_pool(job: Callable[[Case], object], cases: list[Case], workers: int) -> float:
    """Return the seconds for all cases, after each process has done the longest case once."""
    longest = max(cases, key=lambda case: case.image.stat().st_size)
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_drop, initargs=(job, longest)) as pool:
        list(pool.map(_ready, cases))
        start = time.perf_counter()
        list(pool.map(partial(_drop, job), cases))
        return time.perf_counter() - start


def _prepare(folder: Path, size: int | None, case: Case) -> object:
    """Prepare a case in a new folder, because a prepared case is skipped."""
    return prepare_case(case, Path(tempfile.mkdtemp(dir=folder)), size)


def timed_prepare(cases: list[Case], size: int | None, workers: int) -> float:
    """Return the seconds for all cases, with the environment in which kitsseg starts its workers."""
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    try:
        with tempfile.TemporaryDirectory(dir=cases[0].image.parent.parent.parent) as folder:
            return timed_pool(partial(_prepare, Path(folder), size), cases, workers)
    finally:
        os.environ.clear()
        os.environ.update(before)


def timed_nnunet(python: str, cases: list[Case], workers: int) -> float:
    """Return the seconds for all cases without planning, as printed by its script."""
    script = Path(__file__).parent / "peers" / "nnunet_prepare.py"
    with tempfile.TemporaryDirectory(dir=cases[0].image.parent.parent.parent) as folder:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        for name in ("raw", "preprocessed", "results"):
            env[f"nnUNet_{name}"] = str(Path(folder) / name)
        command = [python, str(script), str(cases[0].image.parent.parent), str(len(cases)), str(workers)]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        answer = json.loads(done.stdout.splitlines()[-1])
        print(f"nnunetv2 {answer['version']}", file=sys.stderr)
        return float(answer["seconds"])


def report(seconds: dict[str, list[float]]) -> None:
    """Print one row per job, and store the ratios."""
    median = {name: statistics.median(values) for name, values in seconds.items()}
    reading = [n for n in median if n.startswith("read: ") and "kitsseg" not in n]
    fastest = min(reading, key=lambda name: median[name])
    print("\n| | seconds per case (least, most) | cases per minute | relative to reading |")
    print("|---|---|---|---|")
    for name, values in seconds.items():
        row = f"{median[name]:.3f} ({min(values):.3f}, {max(values):.3f})"
        print(f"| {name} | {row} | {60 / median[name]:.0f} | {median[name] / median[fastest]:.2f} |")
    peer = next((n for n in median if n.startswith("nnU-Net")), None)
    ours = [name for name in median if name.startswith("kitsseg")]
    if peer is None:  # with nnU-Net, there are too few repeats for this ratio
        for name in ours:
            each = [a / b for a, b in zip(seconds[name], seconds[fastest], strict=True)]
            ratios.store(f"{name} / {fastest}", each, "<= 2.5")
    else:
        print()
        for name in ours:
            print(f"{name}: {median[peer] / median[name]:.1f} times as many cases per minute")
            each = [a / b for a, b in zip(seconds[peer], seconds[name], strict=True)]
            ratios.store(f"{peer} / {name}", each, ">= 20")


def report_memory(folder: Path) -> None:
    """Print the peak memory of a process that prepares 1059 slices, relative to their int16 size."""
    case = draw(folder / "long", [LONGEST], 1)[0]
    volume_mb = np.prod(nib.nifti1.load(case.image).shape) * 2 / 1e6
    print("\n| slices | data.size | int16 volume, MB | peak, MB | relative |\n|---|---|---|---|---|")
    for size in (None, 256):
        target = folder / "store"
        shutil.rmtree(target, ignore_errors=True)
        code = (
            "import sys; from pathlib import Path; from kitsseg.data.sources.kits import list_cases;"
            "from kitsseg.data.store.prepare import prepare;"
            f"prepare(list_cases(Path({str(folder / 'long')!r})), Path({str(target)!r}), {size});"
            "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        peak_mb = int(done.stdout) * 1024 / 1e6
        name = "null" if size is None else size
        print(f"| {LONGEST} | {name} | {volume_mb:.0f} | {peak_mb:.0f} | {peak_mb / volume_mb:.2f} |")
        shutil.rmtree(target)


if __name__ == "__main__":
    main()
