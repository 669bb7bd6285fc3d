"""How long preparing takes, against reading alone and against nnU-Net's 2d preprocessing.

    python benchmarks/prepare.py --folder DIR [--nnunet PYTHON] [--long]

Full-size cases (512 x 512, 100-300 slices) are drawn into DIR once. Everything is measured in turn,
`--repeats` times, with as many processes; the ratios of the medians are what counts. PYTHON is that of
an environment with nnunetv2 (see benchmarks/README.md). `--long` measures the peak memory of one worker
on a volume of 1059 slices.
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

import nibabel as nib
import numpy as np
import ratios

from kitsseg.data.case import Case
from kitsseg.data.io.nifti import read_case, read_layout
from kitsseg.data.io.stream import Stream
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
    parser.add_argument("--nnunet", help="python of an environment with nnunetv2")
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
    """Phantom cases with these numbers of slices; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    there = {case.id for case in list_cases(folder)}
    missing = [n for n in range(len(slices)) if f"case_{n:05d}" not in there]
    with ProcessPoolExecutor(workers) as pool:
        args = ([folder] * len(missing), [0] * len(missing), missing, [slices[n] for n in missing])
        list(pool.map(write_case, *args, [512] * len(missing)))
    return list_cases(folder)[: len(slices)]


def megabytes(cases: list[Case]) -> float:
    return sum(path.stat().st_size for case in cases for path in (case.image, case.label)) / 1e6


def readers() -> dict[str, Callable[[Case], object]]:
    """Ways to have both volumes of a case in memory, nothing else done with them."""
    found: dict[str, Callable[[Case], object]] = {
        f"isal {version('isal')}": read_isal,
        f"nibabel {version('nibabel')}": read_nibabel,
        "kitsseg (turned and checked)": read_case,
    }
    try:
        found[f"SimpleITK {version('SimpleITK')}"] = read_simpleitk
    except ImportError:
        print("SimpleITK is not installed: left out")
    return found


def read_isal(case: Case) -> object:
    return [_bytes(path) for path in (case.image, case.label)]


def _bytes(path: Path) -> np.ndarray:
    layout = read_layout(path)
    out = np.empty(layout.shape[::-1], layout.dtype)
    with Stream(path) as stream:
        stream.skip(layout.offset)
        stream.fill(out.data.cast("B"))
        stream.finish()
    return out


def read_nibabel(case: Case) -> object:
    return [np.asanyarray(nib.load(path).dataobj) for path in (case.image, case.label)]


def read_simpleitk(case: Case) -> object:
    import SimpleITK

    return [SimpleITK.ReadImage(path) for path in (case.image, case.label)]


def _drop(job: Callable[[Case], object], case: Case) -> None:
    job(case)  # what it returns stays in its process


def _ready(case: Case) -> None:
    pass


def timed_pool(job: Callable[[Case], object], cases: list[Case], workers: int) -> float:
    """Seconds for all cases; the processes have started by then, and done the longest as a first one."""
    longest = max(cases, key=lambda case: case.image.stat().st_size)
    start_with = {"initializer": _drop, "initargs": (job, longest)}
    with ProcessPoolExecutor(workers, get_context("spawn"), **start_with) as pool:
        list(pool.map(_ready, cases))
        start = time.perf_counter()
        list(pool.map(partial(_drop, job), cases))
        return time.perf_counter() - start


def _prepare(folder: Path, size: int | None, case: Case) -> str:
    """Into a new folder, for a case isn't prepared twice."""
    return prepare_case(case, Path(tempfile.mkdtemp(dir=folder)), size)


def timed_prepare(cases: list[Case], size: int | None, workers: int) -> float:
    """Seconds for all cases, as `timed_pool`; the processes are as kitsseg starts them."""
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    try:
        with tempfile.TemporaryDirectory(dir=cases[0].image.parent.parent.parent) as folder:
            return timed_pool(partial(_prepare, Path(folder), size), cases, workers)
    finally:
        os.environ.clear()
        os.environ.update(before)


def timed_nnunet(python: str, cases: list[Case], workers: int) -> float:
    """Seconds for all cases, as its script prints them: preprocessing alone, no planning."""
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
        timed_nnunet.version = answer["version"]  # type: ignore[attr-defined]
        return float(answer["seconds"])


def report(seconds: dict[str, list[float]]) -> None:
    """A row a job, and the two ratios that matter."""
    median = {name: statistics.median(values) for name, values in seconds.items()}
    reading = [n for n in median if n.startswith("read: ") and "kitsseg" not in n]
    fastest = min(reading, key=lambda name: median[name])
    print("\n| | seconds a case (least, most) | cases a minute | of reading alone |")
    print("|---|---|---|---|")
    for name, values in seconds.items():
        row = f"{median[name]:.3f} ({min(values):.3f}, {max(values):.3f})"
        print(f"| {name} | {row} | {60 / median[name]:.0f} | {median[name] / median[fastest]:.2f} |")
    peer = next((n for n in median if n.startswith("nnU-Net")), None)
    ours = [name for name in median if name.startswith("kitsseg")]
    if peer is None:  # beside it there are too few repeats
        for name in ours:
            each = [a / b for a, b in zip(seconds[name], seconds[fastest], strict=True)]
            ratios.keep(f"{name} / {fastest}", each, "<= 1.5")
    else:
        print(f"\nnnunetv2 {timed_nnunet.version}")  # type: ignore[attr-defined]
        for name in ours:
            print(f"{name}: {median[peer] / median[name]:.1f} times as many cases a minute")
            each = [a / b for a, b in zip(seconds[peer], seconds[name], strict=True)]
            ratios.keep(f"{peer} / {name}", each, ">= 8")


def report_memory(folder: Path) -> None:
    """Peak memory of a process that prepares one volume of 1059 slices, over its int16 size."""
    case = draw(folder / "long", [LONGEST], 1)[0]
    volume_mb = np.prod(read_layout(case.image).shape) * 2 / 1e6
    print(
        "\n| slices | data.size | int16 volume, MB | peak, MB | of the volume |\n|---|---|---|---|---|"
    )
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
