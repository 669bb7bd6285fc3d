"""Time to quality: validation Dice against wall-clock time.

    python benchmarks/quality.py --root DIR [--experiment fast] [--minutes 12] [--long] [--peer]
        [--together] [--nnunet PYTHON] [--figure FILE] [--record FILE] [--output DIR] [OVERRIDE ...]

Runs an experiment of `kitsseg.train` with these overrides on the cases below DIR. The time starts
with the fit and includes loading, augmentation, validation and checkpoints. To end a run of kitsseg
after the same time as the peers, add `+trainer.max_time.minutes=15`.

--long adds a run with as many epochs as fit into the time of the peers. --peer trains a plain MONAI
  loop (benchmarks/peers/monai_loop.py) for that time on the same slices, or in 3D on the same
  volumes with the same patch, batch and poolings. --nnunet trains nnU-Net's 2d configuration
  (benchmarks/peers/nnunet_loop.py) with the Python of an environment that has it. The time of the
  peers excludes validation, and that of nnU-Net excludes preprocessing. Dice values are means over
  the validation cases of KiTS19's official regions, on the grid of the store, and for nnU-Net on the
  cases' own grids. --record writes those of each case and validation as JSON, and --output keeps the
  run folder of kitsseg. Nothing else should run on the machine at the same time. --together runs
  kitsseg and the MONAI loop at once, each with half the cores: whatever else runs then slows both down.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import ratios
import torch
from hydra import compose, initialize_config_dir

from kitsseg import train
from kitsseg.config.validation import CONFIG_DIR
from kitsseg.data.volumes.datamodule import PatchDataModule
from kitsseg.evaluation import stats
from kitsseg.evaluation.metrics import dice, mean_over_cases
from kitsseg.training.pixel_counts import region_counts

HERE = Path(__file__).parent
Array = npt.NDArray[Any]
Scores = npt.NDArray[np.float64]  # [cases, 2], Dice of kidney and tumour
Point = tuple[float, Scores]  # seconds of training

AIMS = {2: {"kidney": 0.95, "tumour": 0.44}, 3: {"kidney": 0.95, "tumour": 0.50}}
SOONER = {2: ">= 3.0", 3: ">= 2.0"}
MARK = "POINT "
VALIDATIONS = 24  # of the MONAI loop


class Clock(pl.Callback):
    """Prints JSON per validation: seconds since the start of the fit, and the Dice of each case."""

    def __init__(self) -> None:
        self.start, self.scores = 0.0, np.zeros((0, 2))

    def on_fit_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.start = time.perf_counter()

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        _, cases, _, counts = (torch.cat(parts) for parts in zip(*module._outputs, strict=True))
        self.scores = score(cases, counts)

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        point = (time.perf_counter() - self.start, self.scores.tolist())
        print(f"{MARK}{json.dumps(point)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--experiment", default="fast", help="such as fast3d")
    parser.add_argument("--minutes", type=float, default=12.0, help="training time of the peers")
    parser.add_argument("--long", action="store_true", help="add a run that takes as long as the peers")
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--together", action="store_true", help="run kitsseg and the MONAI loop at once")
    parser.add_argument("--nnunet", help="Python of an environment with nnunetv2")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--record", type=Path, help="JSON file for the Dice of each case")
    parser.add_argument("--output", type=Path, help="run folder of kitsseg; kept")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    curves: dict[str, list[Point]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        given = [f"experiment={args.experiment}", f"data.root={args.root}", f"paths.data={folder}/data"]
        given += ["logger=none", "finetune=none", *args.overrides]
        data, cfg = opened(given, folder)
        half = max(1, (os.cpu_count() or 2) // 2)
        with ThreadPoolExecutor() as pool:
            ours = pool.submit(run_ours, given, folder, args.output, half if args.together else None)
            if args.together:
                torch.set_num_threads(half)
                curves["MONAI loop"] = run_peer(data, args.minutes * 60, cfg)
            curves = {"kitsseg": ours.result()} | curves
        if args.long:
            more = int(cfg.trainer.max_epochs * args.minutes * 60 / curves["kitsseg"][-1][0])
            curves[f"kitsseg, {more} epochs"] = run_ours([*given, f"trainer.max_epochs={more}"], folder)
        if args.peer and not args.together:
            curves["MONAI loop"] = run_peer(data, args.minutes * 60, cfg)
        if args.nnunet:
            curves["nnU-Net 2d"] = run_nnunet(
                args.nnunet, Path(args.root), data.split, args.minutes * 60, folder
            )
    dims = 3 if isinstance(data, PatchDataModule) else 2
    report(curves, dims)
    if args.record:
        stored = {name: [(s, scores.tolist()) for s, scores in curves[name]] for name in curves}
        args.record.write_text(json.dumps({"cases": sorted(data.split.validation), "curves": stored}))
    if args.figure:
        plot(curves, AIMS[dims], args.figure)


def opened(overrides: list[str], folder: Path) -> tuple[Any, Any]:
    """Return the prepared data of a run, for the peers, and its configuration."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("train", overrides)
    data = train.make_experiment(cfg, folder, "", [], []).data
    data.prepare_data()
    data.setup()
    return data, cfg


def run_ours(
    overrides: list[str], folder: Path, output: Path | None = None, threads: int | None = None
) -> list[Point]:
    """Run `kitsseg.train` as a user starts it, and return its validations."""
    print(f"kitsseg: {' '.join(text for text in overrides if '/' not in text)}")
    line = [sys.executable, "-m", "kitsseg.train", *overrides, "+callbacks.clock._target_=quality.Clock"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE.parent, HERE)))}
    env |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
    start = time.perf_counter()
    line.append(f"paths.output={output or tempfile.mkdtemp(dir=folder)}")
    done = subprocess.run(line, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stdout[-2000:] + done.stderr[-3000:])
    found = [json.loads(text[len(MARK) :]) for text in done.stdout.splitlines() if MARK in text]
    if not found:
        sys.exit("no validation in the time; set trainer.check_val_every_n_epoch=1")
    points = [(seconds, np.array(scores)) for seconds, scores in found]
    for point in points:
        show(point)
    print(f"whole command, with its final evaluation: {time.perf_counter() - start:.0f} s")
    return points


def run_peer(data: Any, seconds: float, cfg: Any) -> list[Point]:
    """Train the MONAI loop on the training cases of the same store; return its validations."""
    sys.path.insert(0, str(HERE / "peers"))
    import monai_loop

    store, width = data.store, cfg.model.width
    if isinstance(data, PatchDataModule):
        strides, batch = data.plan.strides, data.batch_size
        cases = [store.ids.index(case) for case in data.split.train]
        volumes = [pair(store.images(case), store.labels(case)) for case in cases]
        loader = monai_loop.patches_loader(volumes, data.plan.patch, batch, cfg.seed)
    else:
        strides, batch = [[2, 2]] * 4, monai_loop.BATCH
        index, rows = store.index, data.rows(0)
        places = zip(index.case[rows], index.z[rows], strict=True)
        loader = monai_loop.slices_loader(
            [pair(store.images(case)[z], store.labels(case)[z]) for case, z in places], cfg.seed
        )

    def validate(logits: Any) -> Scores:
        cases, counts = [], []
        for part in data.val_dataloader():  # the slices or tiles of kitsseg's validation
            cases.append(part["case"])
            counts.append(region_counts(logits(part["image"].float()).argmax(1), part["label"]))
        return score(torch.cat(cases), torch.cat(counts))

    print(f"MONAI loop: AttentionUnet of width {width}, batches of {batch}")
    points = []
    every = seconds / VALIDATIONS
    for point in monai_loop.train(loader, strides, width, cfg.seed, seconds, every, validate):
        points.append(point)
        show(point)
    return points


def pair(image: Array, label: Array) -> dict[str, Array]:
    """Return HU and class ids as a sample of MONAI's transforms."""
    return {"image": image.astype(np.float32)[None], "label": label.astype(np.float32)[None]}


def score(cases: torch.Tensor, counts: torch.Tensor) -> Scores:
    """Return the Dice ``[cases, regions]`` from the counts of slices or tiles, in the order of cases."""
    of, table = cases.cpu().numpy(), counts.cpu().numpy()
    return dice(np.stack([table[of == case].sum(0) for case in np.unique(of)]))


def means(scores: Scores) -> tuple[float, float]:
    """Return kidney and tumour Dice."""
    return mean_over_cases(scores[:, 0]), mean_over_cases(scores[:, 1])


def show(point: Point) -> None:
    print("{:6.0f} s  kidney {:.3f}  tumour {:.3f}".format(point[0], *means(point[1])), flush=True)


def run_nnunet(python: str, root: Path, split: Any, seconds: float, folder: Path) -> list[Point]:
    """Train nnU-Net on the same cases, in its own environment; return its validations."""
    cases, line = folder / "split.json", [python, str(HERE / "peers" / "nnunet_loop.py")]
    cases.write_text(json.dumps({"train": split.train, "validation": split.validation}))
    env = {**os.environ, "nnUNet_n_proc_DA": "1"}
    env |= {f"nnUNet_{part}": str(folder / part) for part in ("raw", "preprocessed", "results")}
    line += [str(root.resolve()), str(cases), str(seconds), str(seconds / 3)]
    done = subprocess.run(line, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stdout[-2000:] + done.stderr[-3000:])
    found = [json.loads(text) for text in done.stdout.splitlines() if text.startswith('{"seconds"')]
    print(f"nnU-Net {found[-1]['version']}, 2d: {found[-1]['steps']} steps of 16 slices")
    points = [(each["seconds"], np.array(each["scores"])) for each in found]
    for point in points:
        show(point)
    return points


def reached(points: list[Point], aims: dict[str, float]) -> float:
    """Seconds until a validation met all aims; infinite if none did."""
    met = [seconds for seconds, scores in points if (np.array(means(scores)) >= [*aims.values()]).all()]
    return min(met, default=float("inf"))


def report(curves: dict[str, list[Point]], dims: int) -> None:
    aims = AIMS[dims]
    title = " and ".join(f"{region} {aim}" for region, aim in aims.items())
    print(f"\n| | s to {title} | at the end: s | kidney | tumour | best tumour |")
    print("|---|---|---|---|---|---|")
    for name, points in curves.items():
        (kidney, tumour), to = means(points[-1][1]), reached(points, aims)
        first = "not reached" if to == float("inf") else f"{to:.0f}"
        best = max(means(scores)[1] for _, scores in points)
        print(f"| {name} | {first} | {points[-1][0]:.0f} | {kidney:.3f} | {tumour:.3f} | {best:.3f} |")
    ours = {name: points for name, points in curves.items() if name.startswith("kitsseg")}
    peers = {name: points for name, points in curves.items() if name not in ours}
    if not peers:
        return
    # A peer that does not reach the aims takes at least the given time.
    soonest = min(min(reached(points, aims), points[-1][0]) for points in peers.values())
    sooner = [soonest / reached(ours["kitsseg"], aims)]
    ratios.store(f"seconds to {title}: best peer / kitsseg", sooner, SOONER[dims])
    for name, points in peers.items():
        level = dict(zip(aims, means(points[-1][1]), strict=True))
        after = reached(ours["kitsseg"], level)
        found = "not reached" if after == float("inf") else f"after {after:.0f} s"
        print(f"Dice of {name} at its end ({points[-1][0]:.0f} s), by kitsseg: {found}")
    last = [max(means(points[-1][1])[1] for points in each.values()) for each in (ours, peers)]
    if last[1] > 0:
        ratios.store("tumour Dice at the end: kitsseg / best peer", [last[0] / last[1]], ">= 1.0")
    compare(ours, peers)


def compare(ours: dict[str, list[Point]], peers: dict[str, list[Point]]) -> None:
    """Print the paired differences between the last validations."""
    print("\n| at the end | kidney Dice [95 % interval] | p | tumour Dice | p |\n|---|---|---|---|---|")
    for name, peer in itertools.product(ours, peers):
        cells = []
        for region in range(2):
            a, b = ours[name][-1][1], peers[peer][-1][1]
            found = stats.paired(a[:, region], b[:, region])
            d = found.difference
            cells += [f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]", f"{found.p:.2g}"]
        print(f"| {name} − {peer} | {' | '.join(cells)} |")


def plot(curves: dict[str, list[Point]], aims: dict[str, float], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4))
    for axis, (column, region) in zip(axes, enumerate(aims), strict=True):
        for name, points in curves.items():
            minutes, values = zip(
                *((s / 60, means(scores)[column]) for s, scores in points), strict=True
            )
            axis.plot(minutes, values, "o-", ms=3, label=name)
        axis.axhline(aims[region], color="grey", lw=0.8, ls="--")
        axis.set(xlabel="minutes", ylabel=f"validation {region} Dice, mean over cases")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
