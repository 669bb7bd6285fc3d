"""Effect of cropping to the body on labels, Dice and time, by the margin around the body.

    python benchmarks/crop.py CHECKPOINT ... --cases DIR [--margins 0 8 16 32] [--air PIXELS] [--first N]

Every labelled case is segmented without cropping and with ``crop=true`` at each margin, in float32.
Voxels whose labels differ are counted over all cases; Dice is the mean over cases. ``--air`` adds
air on every side of the slices and does not scale them. Use it if the bodies fill their slices,
since cropping then has little effect.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # waiting threads would count as processor time

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.data.case import Case
from kitsseg.data.io.nifti.read import read_label
from kitsseg.data.io.read_scan import read_image
from kitsseg.data.labels import AIR_HU, KITS19
from kitsseg.data.sources.kits import list_cases
from kitsseg.inference import body_crop, checkpoint
from kitsseg.inference.segmenter import Segmenter

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Volume:
    """A case in memory: ``[S, H, W]`` HU and class ids, and the spacing of these axes."""

    image: Array
    label: Array
    spacing_mm: tuple[float, float, float]


def read_case(case: Case) -> Volume:
    image = read_image(case.image, case.offset_hu)
    return Volume(image.hu, read_label(case.truth, case.stored), image.layout.spacing_mm)


def dice(label: Array, truth: Array, region: str) -> float:
    """Return the Dice of KiTS19's official script, NaN if the region is in neither volume."""
    a, b = (KITS19.mask(volume, region) for volume in (label, truth))
    total = a.sum() + b.sum()
    return float(2 * (a & b).sum() / total) if total else float("nan")


def pad_with_air(volume: Volume, pixels: int) -> Volume:
    """Return a volume whose slices have ``pixels`` of air on every side."""
    width = ((0, 0), (pixels, pixels), (pixels, pixels))
    image = np.pad(volume.image, width, constant_values=AIR_HU)
    return replace(volume, image=image, label=np.pad(volume.label, width))


def segment_all(
    member: checkpoint.Loaded, volumes: Sequence[Volume], margin: int | None
) -> tuple[list[Array], float]:
    """Return all label volumes and the processor time; margin None segments whole slices."""
    segment = Segmenter([member], device="cpu", precision="32-true", crop=margin is not None)
    body_crop.MARGIN = 0 if margin is None else margin
    start = time.process_time()
    labels = [segment(volume.image, volume.spacing_mm) for volume in volumes]
    return labels, time.process_time() - start


def compare(member: checkpoint.Loaded, volumes: Sequence[Volume], margins: Sequence[int]) -> None:
    """Print one line per margin."""
    whole, whole_s = segment_all(member, volumes, None)
    for margin in (None, *margins):
        labels, taken_s = (whole, whole_s) if margin is None else segment_all(member, volumes, margin)
        changed = sum(int((a != b).sum()) for a, b in zip(labels, whole, strict=True))
        labelled = sum(int((a | b).astype(bool).sum()) for a, b in zip(labels, whole, strict=True))
        pairs = list(zip(labels, (volume.label for volume in volumes), strict=True))
        means = {
            region: np.nanmean([dice(*pair, region) for pair in pairs])
            for region in KITS19.table_regions
        }
        print(
            f"  {'whole' if margin is None else f'margin {margin}':10} {changed:7} of {labelled} "
            f"labelled voxels differ ({changed / max(1, labelled):.2%}), "
            + ", ".join(f"{region} {value:.4f}" for region, value in means.items())
            + f"; {taken_s / whole_s:.2f} of the time",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--cases", type=Path, required=True, help="a folder in KiTS19's layout")
    parser.add_argument("--margins", type=int, nargs="+", default=[0, 8, 16, 32])
    parser.add_argument("--air", type=int, default=0, help="pixels of air to add on every side")
    parser.add_argument("--first", type=int, help="number of cases to use")
    args = parser.parse_args()
    volumes = [read_case(case) for case in list_cases(args.cases)[: args.first]]
    if args.air:
        volumes = [pad_with_air(volume, args.air) for volume in volumes]
    for path in args.checkpoints:
        member = checkpoint.load(path)
        print(f"{path}: {len(volumes)} cases")
        compare(replace(member, size=None) if args.air else member, volumes, args.margins)


if __name__ == "__main__":
    main()
