"""Time to evaluate one case of 512 x 512 x 300 on one core, compared with MONAI and surface-distance.

    python benchmarks/evaluate.py [--repeats 3]

Every tool computes the surface Dice and HD95 of the three regions, from the same two label volumes
in the same run. The last line is the time that kitsseg takes to read, check and evaluate two files,
including Dice, volumes and lesions.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when numpy and torch are imported
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import surface_distance
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

from kitsseg.data.labels import KITS19
from kitsseg.evaluation.cases import Pair
from kitsseg.evaluation.lesions import Matching
from kitsseg.evaluation.scores import score_pair
from kitsseg.evaluation.surface import surfaces

SHAPE, SPACING_MM, TOLERANCE_MM = (300, 512, 512), (1.0, 0.78, 0.78), 1.0
# Class, centre and radii in mm of two kidneys (150 ml each) and of a tumour (60 ml).
BODIES = (
    (1, (150, 215, 120), (52, 27, 25)),
    (1, (145, 215, 275), (52, 27, 25)),
    (2, (175, 225, 105), (25, 24, 24)),
)
Array = npt.NDArray[Any]
Masks = dict[str, Array]
Metrics = dict[str, tuple[float, float]]  # surface Dice, HD95 in mm


def draw(seed: int, shift_mm: float) -> Array:
    """Return uint8 of ``SHAPE``: ellipsoids whose surface has bumps that depend on ``seed``."""
    rng = np.random.default_rng(seed)
    axes = np.ogrid[tuple(slice(n) for n in SHAPE)]
    mm = [axis.astype(np.float32) * step for axis, step in zip(axes, SPACING_MM, strict=True)]
    label = np.zeros(SHAPE, np.uint8)
    for body, centre, radii in BODIES:
        inside = sum(((x - c - shift_mm) / r) ** 2 for x, c, r in zip(mm, centre, radii, strict=True))
        for _ in range(3):
            waves = [np.sin(x * rng.uniform(0.1, 0.3) + rng.uniform(0, 6)) for x in mm]
            inside = inside + np.float32(0.1) * waves[0] * waves[1] * waves[2]
        label[inside < 1] = body
    return label


def masks(label: Array) -> Masks:
    """Return the mask of each region."""
    return {region: KITS19.mask(label, region) for region in KITS19.regions}


def with_kitsseg(p: Masks, g: Masks) -> Metrics:
    found = {region: surfaces(p[region], g[region], SPACING_MM) for region in KITS19.regions}
    return {region: (each.dice(TOLERANCE_MM), each.hausdorff_mm(95)) for region, each in found.items()}


def with_surface_distance(p: Masks, g: Masks) -> Metrics:
    out = {}
    for region in KITS19.regions:
        both = surface_distance.compute_surface_distances(g[region], p[region], SPACING_MM)
        out[region] = (
            float(surface_distance.compute_surface_dice_at_tolerance(both, TOLERANCE_MM)),
            float(surface_distance.compute_robust_hausdorff(both, 95)),
        )
    return out


def with_monai(p: Masks, g: Masks) -> Metrics:
    out = {}
    for region in KITS19.regions:
        a, b = (torch.from_numpy(mask[region])[None, None].float() for mask in (p, g))
        dice = compute_surface_dice(
            a, b, [TOLERANCE_MM], include_background=True, spacing=SPACING_MM, use_subvoxels=True
        )
        hd95 = compute_hausdorff_distance(
            a, b, include_background=True, percentile=95, spacing=SPACING_MM
        )
        out[region] = (float(dice), float(hd95))
    return out


def seconds(job: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the median processor time of ``job``, little affected by other load, and its result."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        out = job()
        times.append(time.process_time() - start)
    return float(np.median(times)), out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore")  # surface-distance uses deprecated names of SciPy
    torch.set_num_threads(1)
    truth, prediction = draw(0, 0), draw(1, 1)
    p, g = masks(prediction), masks(truth)
    voxel_ml = np.prod(SPACING_MM) / 1000
    volumes = {region: f"{mask.sum() * voxel_ml:.0f} ml" for region, mask in g.items()}
    print(
        f"{SHAPE} voxels of {SPACING_MM} mm, truth: {volumes}\n"
        f"one core, processor time, median of {repeats}"
    )
    tools = {
        "kitsseg": ("kitsseg", with_kitsseg),
        "surface-distance": ("surface-distance", with_surface_distance),
        "MONAI": ("monai", with_monai),
    }
    base = 0.0
    for name, (package, tool) in tools.items():
        taken, metrics = seconds(partial(tool, p, g), repeats)
        base = taken if name == "kitsseg" else base
        which = "" if name == "kitsseg" else f" {version(package)}"
        print(f"surfaces, {name + which:22} {taken:7.2f} s  {taken / base:5.1f} x")
        for region, (dice, hd95) in metrics.items():
            print(f"    {region:13} surface Dice {dice:.6f}  HD95 {hd95:.6f} mm")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"case_0000{i}.nii.gz" for i in range(2)]
        affine = np.diag([-SPACING_MM[0], -SPACING_MM[1], -SPACING_MM[2], 1.0])[[2, 1, 0, 3]]
        for path, label in zip(paths, (prediction, truth), strict=True):
            nib.save(nib.Nifti1Image(label, affine), path)
        pair = Pair("case_00000", paths[0], paths[1])
        tolerance_mm = dict.fromkeys(KITS19.regions, TOLERANCE_MM)
        job = partial(score_pair, pair, KITS19.stored, KITS19.stored, tolerance_mm, Matching(), None)
        taken, (scores, problem) = seconds(job, repeats)
        assert scores is not None, problem
        print(f"one case, from two .nii.gz files to all metrics: {taken:.2f} s")


if __name__ == "__main__":
    main()
