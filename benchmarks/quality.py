"""Time to quality: validation Dice against wall-clock time.

    python benchmarks/quality.py --root DIR [--minutes 12] [--long] [--peer] [--nnunet PYTHON]
        [--figure FILE] [OVERRIDE ...]

Runs `experiment=fast` of `kitsseg.train` with these overrides on the cases below DIR. The time
starts with the fit and includes loading, augmentation, validation and checkpoints.

--long adds a run with as many epochs as fit into the time of the peers. --peer trains a plain MONAI
  loop (benchmarks/peers/monai_loop.py) for that time on the same slices. --nnunet trains nnU-Net's
  2d configuration (benchmarks/peers/nnunet_loop.py) with the Python of an environment that has it.
  The time of the peers excludes validation, and that of nnU-Net excludes preprocessing. Dice values
  are means over the validation cases of KiTS19's official regions. Nothing else should run on the
  machine at the same time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import ratios
import torch
from hydra import compose, initialize_config_dir

from kitsseg.config.components import instantiate
from kitsseg.config.validation import CONFIG_DIR
from kitsseg.evaluation.metrics import dice, mean_over_cases
from kitsseg.training.pixel_counts import region_counts

HERE = Path(__file__).parent
Point = tuple[float, float, float]  # seconds, kidney, tumour

AIMS = {"kidney": 0.95, "tumour": 0.44}
MARK = "POINT "
LINE = "{:6.0f} s  kidney {:.3f}  tumour {:.3f}"
EVERY = 30.0  # seconds between validations of a peer


class Clock(pl.Callback):
    """Prints JSON per validation: seconds since the start of the fit, kidney and tumour Dice."""

    def __init__(self) -> None:
        self.start = 0.0

    def on_fit_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.start = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        seconds, found = time.perf_counter() - self.start, trainer.callback_metrics
        point = (seconds, float(found["val/kidney_dice"]), float(found["val/tumour_dice"]))
        print(f"{MARK}{json.dumps(point)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--minutes", type=float, default=12.0, help="training time of the peers")
    parser.add_argument("--long", action="store_true", help="add a run that takes as long as the peers")
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--nnunet", help="Python of an environment with nnunetv2")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    curves: dict[str, list[Point]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        given = ["experiment=fast", f"data.root={args.root}", f"paths.data={folder}/data"]
        given += ["logger=none", "finetune=none", *args.overrides]
        data, cfg = opened(given)
        curves["kitsseg"] = run_ours(given, args.overrides, folder)
        if args.long:
            more = int(cfg.trainer.max_epochs * args.minutes * 60 / curves["kitsseg"][-1][0])
            extra = f"trainer.max_epochs={more}"
            curves[f"kitsseg, {more} epochs"] = run_ours(
                [*given, extra], [*args.overrides, extra], folder
            )
        if args.peer:
            curves["MONAI loop"] = run_peer(data, args.minutes * 60, cfg.model.width)
        if args.nnunet:
            curves["nnU-Net 2d"] = run_nnunet(
                args.nnunet, Path(args.root), data.split, args.minutes * 60, folder
            )
    report(curves)
    if args.figure:
        plot(curves, args.figure)


def opened(overrides: list[str]) -> tuple[Any, Any]:
    """Return the prepared data of a run, for the peers, and its configuration."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("train", overrides)
    split, augmentation = instantiate(cfg.split), instantiate(cfg.augmentation)
    data = instantiate(cfg.data, split=split, augmentation=augmentation, seed=cfg.seed)
    data.prepare_data()
    data.setup()
    return data, cfg


def run_ours(overrides: list[str], shown: list[str], folder: Path) -> list[Point]:
    """Run `kitsseg.train` as a user starts it, and return its validations."""
    print(f"kitsseg: {' '.join(['experiment=fast', *shown])}")
    line = [sys.executable, "-m", "kitsseg.train", *overrides, "+callbacks.clock._target_=quality.Clock"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE.parent, HERE)))}
    start = time.perf_counter()
    line.append(f"paths.output={tempfile.mkdtemp(dir=folder)}")
    done = subprocess.run(line, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stdout[-2000:] + done.stderr[-3000:])
    points = [json.loads(text[len(MARK) :]) for text in done.stdout.splitlines() if MARK in text]
    for point in points:
        print(LINE.format(*point), flush=True)
    print(f"whole command, with its final evaluation: {time.perf_counter() - start:.0f} s")
    return [(s, kidney, tumour) for s, kidney, tumour in points]


def run_peer(data: Any, seconds: float, width: int) -> list[Point]:
    """Train the MONAI loop on the training slices of the same cases; return its validations."""
    sys.path.insert(0, str(HERE / "peers"))
    import monai_loop

    index, store = data.store.index, data.store

    def load(row: int) -> dict[str, npt.NDArray[np.float32]]:
        case, z = index.case[row], index.z[row]
        image = store.images(case)[z].astype(np.float32)
        return {"image": image[None], "label": store.labels(case)[z][None].astype(np.float32)}

    slices = [load(row) for row in data.rows(0)]
    rows = data.validation_rows

    def validate(logits: Any) -> tuple[float, float]:
        cases = []
        for case in np.unique(index.case[rows]):
            mine, counts = rows[index.case[rows] == case], []
            for first in range(0, len(mine), 16):
                part = [load(row) for row in mine[first : first + 16]]
                label = torch.from_numpy(np.stack([s["label"][0] for s in part])).long()
                image = torch.from_numpy(np.stack([s["image"] for s in part]))
                counts.append(region_counts(logits(image).argmax(1), label))
            cases.append(torch.cat(counts).sum(0).numpy())
        scores = dice(np.stack(cases))
        return mean_over_cases(scores[:, 0]), mean_over_cases(scores[:, 1])

    print(f"MONAI loop: AttentionUnet of width {width}, batches of {monai_loop.BATCH}")
    points = []
    for point in monai_loop.train(slices, seconds, EVERY, width, validate):
        points.append(point)
        print(LINE.format(*point), flush=True)
    return points


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
    points = [(each["seconds"], each["kidney"], each["tumour"]) for each in found]
    for point in points:
        print(LINE.format(*point), flush=True)
    return points


def reached(points: list[Point]) -> float:
    """Seconds until a validation met both aims; infinite if none did."""
    met = [s for s, kidney, tumour in points if kidney >= AIMS["kidney"] and tumour >= AIMS["tumour"]]
    return min(met, default=float("inf"))


def report(curves: dict[str, list[Point]]) -> None:
    aims = " and ".join(f"{region} {aim}" for region, aim in AIMS.items())
    print(
        f"\n| | s to {aims} | at the end: s | kidney | tumour | best tumour |\n|---|---|---|---|---|---|"
    )
    for name, points in curves.items():
        seconds, kidney, tumour = points[-1]
        to = reached(points)
        first = "not reached" if to == float("inf") else f"{to:.0f}"
        best = max(point[2] for point in points)
        print(f"| {name} | {first} | {seconds:.0f} | {kidney:.3f} | {tumour:.3f} | {best:.3f} |")
    ours: dict[str, list[Point]] = {}
    peers: dict[str, list[Point]] = {}
    for name, points in curves.items():
        (ours if name.startswith("kitsseg") else peers)[name] = points
    if not peers:
        return
    # A peer that does not reach the aims takes at least the given time.
    soonest = min(min(reached(points), points[-1][0]) for points in peers.values())
    ratios.store(
        f"seconds to {aims}: best peer / kitsseg", [soonest / reached(ours["kitsseg"])], ">= 3.0"
    )
    last = [max(points[-1][2] for points in each.values()) for each in (ours, peers)]
    ratios.store("tumour Dice at the end: kitsseg / best peer", [last[0] / last[1]], ">= 1.0")


def plot(curves: dict[str, list[Point]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4))
    for axis, (column, region) in zip(axes, enumerate(AIMS, 1), strict=True):
        for name, points in curves.items():
            axis.plot([p[0] / 60 for p in points], [p[column] for p in points], "o-", ms=3, label=name)
        axis.axhline(AIMS[region], color="grey", lw=0.8, ls="--")
        axis.set(xlabel="minutes", ylabel=f"validation {region} Dice, mean over cases")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
