"""What training costs as the work grows: start-up, memory and time a slice.

    python benchmarks/scaling.py [--quick] [--repeats 3] [--folder DIR] [--figure FILE]

Each row is the median of as many runs of `kitsseg.train`, each in a process of its own on drawn and
prepared cases, as a user starts it, with a small network so that what isn't network shows. Start-up is
the time from the start of the process to the end of its first training step, less what
`import torch, pytorch_lightning` takes in a process just before it. Memory is the process's own when
training ends, without the store's pages, which the kernel maps and can drop; loader processes and
further ranks apart.
One row varies one thing: cases, slices a case, pixels, loader processes, ranks; the last two with slices
of 256 x 256, whose step is long beside what the processes have to tell each other. Measured too is how
long `python -m kitsseg.train --help` takes, and what the least that Lightning can train in two processes
(benchmarks/peers/lightning_ddp.py) takes to its first step.
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
# What is varied, and its values; the others keep the first of these.
DEFAULTS = {"cases": 20, "slices": 24, "size": 64, "workers": 0, "ranks": 1}
LARGE = {"size": 256}
# Values, and what else differs from the defaults.
GRID: dict[str, tuple[list[int], dict[str, int]]] = {
    "cases": ([10, 50, 100, 210], {}),
    "slices": ([24, 48, 96], {}),
    "size": ([64, 128, 256], {}),
    "workers": ([0, 1, 2], LARGE),
    "ranks": ([1, 2], LARGE),
}
QUICK: dict[str, tuple[list[int], dict[str, int]]] = {"cases": ([10, 50], {})}
# What each run says, and how it is shown.
KINDS = {"startup": "start-up less imports, s", "memory": "memory, MB", "slice": "seconds a slice"}

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few cases, one run each")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="where drawn cases stay; without, they go afterwards")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder if args.folder is not None else temporary
        repeats, known = 1 if args.quick else args.repeats, {}
        found: dict[str, list[Row]] = {}
        for name, (values, others) in (QUICK if args.quick else GRID).items():
            for setting in ({**DEFAULTS, **others, name: value} for value in values):
                key = tuple(setting.values())  # some rows have the first values of all
                if key not in known:
                    known[key] = measure(setting, folder, temporary, repeats)
                found.setdefault(name, []).append(known[key])
        helping = [timed_help() for _ in range(repeats)]
    for name, rows in found.items():
        print(f"\n| {name} | start-up less imports, s | memory, MB | ms a slice | ns a pixel |")
        print("|---|---|---|---|---|")
        for row in rows:
            print(
                f"| {row[name]} | {row['startup']:.2f} | {row['memory']:.0f} | {row['slice'] * 1e3:.2f} "
                f"| {row['slice'] / row['size'] ** 2 * 1e9:.0f} |"
            )
    print(f"\nkitsseg.train --help: {statistics.median(helping):.2f} s")
    keep(found, helping)
    if "ranks" in found:
        keep_ranks(found["ranks"][-1], repeats)
    if args.figure:
        plot(found, args.figure)


def timed_help() -> float:
    """Seconds that the command's help takes."""
    start = time.perf_counter()
    run([sys.executable, "-m", "kitsseg.train", "--help"])
    return time.perf_counter() - start


def keep(found: dict[str, list[Row]], helping: list[float]) -> None:
    """Hand on start-up with the most cases, and what the most cases cost over the fewest."""
    fewest, most = found["cases"][0], found["cases"][-1]
    name = f"{most['cases']} cases"
    ratios.keep("seconds of kitsseg.train --help", helping, "<= 2.0")
    ratios.keep(f"seconds from the imports to the first step, {name}", most["all"]["startup"], "<= 1.0")
    for kind, title in (("slice", "time a slice"), ("memory", "memory")):
        each = [a / b for a, b in zip(most["all"][kind], fewest["all"][kind], strict=True)]
        ratios.keep(f"{title}: {name} / {fewest['cases']}", each, "<= 1.1")


def keep_ranks(ours: Row, repeats: int) -> None:
    """Compare the time to the first step of several ranks with that of Lightning's least."""
    command = [sys.executable, str(HERE / "peers" / "lightning_ddp.py"), str(ours["ranks"])]
    theirs = [said_by_probe(command)["first"] for _ in range(repeats)]
    took = [statistics.median(each) for each in (ours["all"]["first"], theirs)]
    title = f"first step of {ours['ranks']} ranks"
    print(f"{title}, from the command on: {took[0]:.2f} s; Lightning's least: {took[1]:.2f} s")
    each = [mine / other for mine, other in zip(ours["all"]["first"], theirs, strict=True)]
    ratios.keep(f"{title} / Lightning's least", each, "<= 1.0")


def measure(setting: dict[str, int], folder: str, temporary: str, repeats: int) -> Row:
    """Runs that have met their cases before, and what they cost: medians, and under ``all`` each."""
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
        run([sys.executable, "-c", "import torch, pytorch_lightning"])
        imports = time.perf_counter() - start
        probe = said_by_probe([*line, f"paths.output={temporary}/out{number}"])
        for kind, value in {**probe, "startup": probe["first"] - imports}.items():
            if kind in each:
                each[kind].append(value)
    return {**setting, **{kind: statistics.median(values) for kind, values in each.items()}, "all": each}


def said_by_probe(command: list[str]) -> dict[str, float]:
    """What a command's probe has printed."""
    lines = run(command).splitlines()
    (found,) = (json.loads(line.partition(MARK)[2]) for line in lines if MARK in line)
    return dict(found)


def run(line: list[str]) -> str:
    """What a command prints; the benchmark ends if it fails."""
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
