"""Patches of volumes, or slices, that one process reads and augments per second.

    python benchmarks/augmentation.py [--size D H W | --size H W] [--repeats N]

Patches are read from memory-mapped int16 images and uint8 labels. The choices of
`augmentation=` are compared with MONAI's dictionary transforms of the same kind and probability, on
the same patches. Everything runs in one thread, as in a loader process, and seconds are processor
time.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import albumentations
import cv2
import monai
import numpy as np
import ratios
import torch
from monai import transforms as M
from omegaconf import OmegaConf

from kitsseg.config.components import instantiate
from kitsseg.config.validation import CONFIG_DIR
from kitsseg.data.slices.augment import Augmentation

CHOICES = {2: ("none", "paper", "strong"), 3: ("none", "paper", "strong", "strong3d")}
BOTH: dict[str, Any] = {"keys": ["image", "label"]}
MOVED = {**BOTH, "mode": ["bilinear", "nearest"], "padding_mode": "border"}
AIMS = {2: ("strong", 400), 3: ("paper", 50)}  # per second
WHAT = {2: "slices", 3: "3D patches"}


def monai_chains(size: list[int]) -> dict[str, Any]:
    """Return MONAI's transforms that correspond to the configurations."""
    through = len(size) - 2  # axes that are not in the plane
    height, width = size[-2:]
    flips = [M.RandFlipd(prob=0.5, spatial_axis=axis, **BOTH) for axis in reversed(range(len(size)))]
    near, far = ([0.0] * through + [height * share, width * share] for share in (0.08, 0.1))
    shift = M.RandAffined(prob=0.8, translate_range=far, **MOVED)
    turn = M.RandAffined(
        prob=0.9,
        rotate_range=[math.radians(20), 0, 0][: 3 if through else 1],
        scale_range=[(0, 0)] * through + [(-0.2, 0.25)] * 2,
        translate_range=near,
        **MOVED,
    )
    contrast = [
        M.RandScaleIntensityd(keys="image", factors=0.15, prob=0.7),
        M.RandShiftIntensityd(keys="image", offsets=10, prob=0.7),
    ]
    noise = M.RandGaussianNoised(keys="image", std=12, prob=0.5)
    return {
        "paper": M.Compose([*flips[:2], shift]),
        "strong": M.Compose([flips[0], turn, *contrast, noise]),
    }


def apply(chain: Augmentation, image: Any, label: Any, position: int) -> None:
    chain(image, label, (0, position))


def apply_monai(chain: Any, image: Any, label: Any, position: int) -> None:
    chain({"image": image, "label": label[None]})


def patches(folder: Path, size: list[int]) -> Iterator[tuple[Any, Any]]:
    """Yield random patches of an image on disk, without end."""
    shape, rng = [2 * n for n in size], np.random.default_rng(0)
    for name, dtype in (("image", np.int16), ("label", np.uint8)):
        file = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, tuple(shape))
        file[:] = rng.integers(0, 3 if name == "label" else 400, shape)
    image, label = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("image", "label"))
    while True:
        place = tuple(slice(start, start + n) for start, n in zip(rng.integers(size), size, strict=True))
        yield np.array(image[place])[None], np.array(label[place])


def rate(augment: Callable[[Any, Any, int], Any], source: Iterator[Any], count: int) -> float:
    """Return patches per second of processor time."""
    start = time.process_time()
    for position in range(count):
        image, label = next(source)
        augment(image, label, position)
    return count / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[64, 128, 128])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--patches", type=int, default=20, help="per repeat")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    ways: dict[str, Callable[[Any, Any, int], Any]] = {}
    dims = len(args.size)
    for name in CHOICES[dims]:
        ours = instantiate(OmegaConf.load(CONFIG_DIR / f"augmentation/{name}.yaml"))
        ways[name] = partial(apply, ours)
    for name, theirs in monai_chains(args.size).items():
        ways[f"MONAI, {name}"] = partial(apply_monai, theirs)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        source = patches(Path(folder), args.size)
        for augment in ways.values():  # warm
            rate(augment, source, 2)
        for _ in range(args.repeats):
            for name, augment in ways.items():
                rates[name].append(rate(augment, source, args.patches))
    versions = f"albumentations {albumentations.__version__}, MONAI {monai.__version__}"
    print(f"{versions}, OpenCV {cv2.__version__}; patches of {args.size}")
    print(f"\n| augmentation | {WHAT[dims]} per second (least, most) |\n|---|---|")
    for name, each in rates.items():
        print(f"| {name} | {statistics.median(each):.0f} ({min(each):.0f}, {max(each):.0f}) |")
    for name in ("paper", "strong"):
        quotients = [a / b for a, b in zip(rates[name], rates[f"MONAI, {name}"], strict=True)]
        ratios.store(f"{WHAT[dims]} per second: {name} / MONAI", quotients, ">= 1")
    name, aim = AIMS[dims]
    reached = [each / aim for each in rates[name]]
    ratios.store(f"{WHAT[dims]} read and augmented per second, {name} / {aim}", reached, ">= 1")


if __name__ == "__main__":
    main()
