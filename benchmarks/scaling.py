"""Start-up time, memory and time per slice of training as the work grows.

    python benchmarks/scaling.py [--quick] [--repeats 3] [--folder DIR] [--figure FILE]

Each row is the median of several runs of `kitsseg.train`, each in its own process on prepared
phantom cases. The network is small, so that the overhead is visible.

- Start-up is the time from the start of the process to the end of its first training step, minus
  the time of `import torch, pytorch_lightning` in a process just before it.
- Memory is that of the main process at the end of training, without the mapped pages of the store.

Each table varies one thing: cases, slices per case, pixels, loader processes or ranks. The last two
use slices of 256 x 256, whose steps are long compared with the communication. The script also
measures `python -m kitsseg.train --help`, and the first step of a minimal model that Lightning
trains in two processes (benchmarks/peers/lightning_ddp.py).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ratios
from probe import MARK, STARTED

HERE = Path(__file__).parent
MODEL = [
    *("model=unet", "model.width=4", "model.depth=3", "trainer=cpu", "trainer.max_epochs=1"),
    *("finetune=none", "logger=none", "data.background_keep=1", "data.batch_size=8"),
]
# The values of all that is not varied.
DEFAULTS = {"cases": 20, "slices": 24, "size": 64, "workers": 0, "ranks": 1}
LARGE = {"size": 256}
# The values to measure, and what else differs from the defaults.
GRID: dict[str, tuple[list[int], dict[str, int]]] = {
    "cases": ([10, 50, 100, 210], {}),
    "slices": ([24, 48, 96], {}),
    "size": ([64, 128, 256], {}),
    "workers": ([0, 1, 2], LARGE),
    "ranks": ([1, 2], LARGE),
}
QUICK: dict[str, tuple[list[int], dict[str, int]]] = {"cases": ([10, 50], {})}
# The measurements of each run, and their titles.
KINDS = {"startup": "start-up less imports, s", "memory": "memory, MB", "slice": "seconds per slice"}

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few cases, one run each")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="keep drawn cases here; default: a temporary folder")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder if args.folder is not None else temporary
        repeats, known = 1 if args.quick else args.repeats, {}
        found: dict[str, list[Row]] = {}
        for name, (values, others) in (QUICK if args.quick else GRID).items():
            for setting in ({**DEFAULTS, **others, name: value} for value in values):
                key = tuple(setting.values())  # some settings are in several tables
                if key not in known:
                    known[key] = measure(setting, folder, temporary, repeats)
                found.setdefault(name, []).append(known[key])
        helping = [timed_help() for _ in range(repeats)]
    for name, rows in found.items():
        print(f"\n| {name} | start-up less imports, s | memory, MB | ms per slice | ns per pixel |")
        print("|---|---|---|---|---|")
        for row in rows:
            print(
                f"| {row[name]} | {row['startup']:.2f} | {row['memory']:.0f} | {row['slice'] * 1e3:.2f} "
                f"| {row['slice'] / row['size'] ** 2 * 1e9:.0f} |"
            )
    print(f"\nkitsseg.train --help: {statistics.median(helping):.2f} s")
    store_ratios(found, helping)
    if "ranks" in found:
        store_rank_ratios(found["ranks"][-1], repeats)
    if args.figure:
        plot(found, args.figure)


def timed_help() -> float:
    """Return the seconds of ``kitsseg.train --help``."""
    start = time.perf_counter()
    run([sys.executable, "-m", "kitsseg.train", "--help"])
    return time.perf_counter() - start


def store_ratios(found: dict[str, list[Row]], helping: list[float]) -> None:
    """Store the start-up time with the most cases, and the ratios of the most cases to the fewest."""
    fewest, most = found["cases"][0], found["cases"][-1]
    name = f"{most['cases']} cases"
    ratios.store("seconds of kitsseg.train --help", helping, "<= 2.0")
    ratios.store(f"seconds from the imports to the first step, {name}", most["all"]["startup"], "<= 3.0")
    for kind, title in (("slice", "time per slice"), ("memory", "memory")):
        each = [a / b for a, b in zip(most["all"][kind], fewest["all"][kind], strict=True)]
        ratios.store(f"{title}: {name} / {fewest['cases']}", each, "<= 1.1")


def store_rank_ratios(ours: Row, repeats: int) -> None:
    """Compare the first step of several ranks with that of a minimal model in Lightning."""
    command = [sys.executable, str(HERE / "peers" / "lightning_ddp.py"), str(ours["ranks"])]
    theirs = [probe_values(command)["first"] for _ in range(repeats)]
    took = [statistics.median(each) for each in (ours["all"]["first"], theirs)]
    title = f"first step of {ours['ranks']} ranks"
    print(f"{title}, from the command on: {took[0]:.2f} s; Lightning's launcher: {took[1]:.2f} s")
    each = [mine / other for mine, other in zip(ours["all"]["first"], theirs, strict=True)]
    ratios.store(f"{title} / Lightning's launcher", each, "<= 1.0")


def measure(setting: dict[str, int], folder: str, temporary: str, repeats: int) -> Row:
    """Measure runs on prepared cases; return medians, and all values under ``all``."""
    data = ["data=phantom", f"paths.data={folder}/data", "data.prepare_workers=2"]
    data += [f"data.source.{name}={setting[name]}" for name in ("cases", "slices", "size")]
    data.append(f"data.size={setting['size']}")
    run([sys.executable, "-m", "kitsseg.prepare", *data])
    line = [
        sys.executable,
        "-m",
        "kitsseg.train",
        *data,
        *MODEL,
        "+callbacks.probe._target_=probe.Probe",
    ]
    line += [f"name={'-'.join(map(str, setting.values()))}"]
    line += [f"data.workers={setting['workers']}", f"trainer.devices={setting['ranks']}"]
    if setting["ranks"] > 1:
        line.append("trainer.strategy=ddp")
    each: dict[str, list[float]] = {kind: [] for kind in (*KINDS, "first")}
    for number in range(repeats):
        start = time.perf_counter()
        # An ordinary end of the interpreter takes more than a second after these imports.
        run([sys.executable, "-c", "import os, torch, pytorch_lightning; os._exit(0)"])
        imports = time.perf_counter() - start
        probe = probe_values([*line, f"paths.output={temporary}/out{number}"])
        for kind, value in {**probe, "startup": probe["first"] - imports}.items():
            if kind in each:
                each[kind].append(value)
    return {**setting, **{kind: statistics.median(values) for kind, values in each.items()}, "all": each}


def probe_values(command: list[str]) -> dict[str, float]:
    """Run a command and return what its probe prints."""
    lines = run(command).splitlines()
    (found,) = (json.loads(line.partition(MARK)[2]) for line in lines if MARK in line)
    return dict(found)


def run(line: list[str]) -> str:
    """Return the output of a command; exit if it fails."""
    paths = os.pathsep.join(map(str, (HERE.parent, HERE)))
    env = {**os.environ, "PYTHONPATH": paths, STARTED: str(time.time())}
    done = subprocess.run(line, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(line)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def plot(found: dict[str, list[Row]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(KINDS), len(found), figsize=(3 * len(found), 7), squeeze=False)
    for column, (name, rows) in zip(axes.T, found.items(), strict=True):
        for axis, (kind, title) in zip(column, KINDS.items(), strict=True):
            values = [row["all"][kind] for row in rows]
            at = [row[name] for row in rows]
            axis.fill_between(at, [min(v) for v in values], [max(v) for v in values], alpha=0.2)
            axis.plot(at, [row[kind] for row in rows], "o-")
            axis.axhline(0, color="grey", lw=0.8)
            axis.set_ylim(min(0.0, *(min(v) for v in values)) * 1.2, None)
            axis.set_xlabel(name)
            axis.set_ylabel(title)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
