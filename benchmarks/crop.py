"""What cropping to the body changes and saves: labels, Dice and time, by the margin round the body.

``python benchmarks/crop.py checkpoint.ckpt ... --cases kits19``. Every labelled case is segmented whole
and with ``crop=true`` at each margin, in float32; voxels whose labels differ are counted over all cases,
and Dice is the mean over cases. With ``--air``, the slices lie in so many pixels of air on
every side and aren't scaled: where bodies fill their slices, cropping would else do little.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # threads that wait for each other would count as work

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from kitsseg.data.io.nifti import Volume, read_case
from kitsseg.data.labels import AIR_HU, OFFICIAL, REGIONS
from kitsseg.data.sources.kits import list_cases
from kitsseg.inference import checkpoint, segmenter
from kitsseg.inference.segmenter import Segmenter


def dice(label: np.ndarray, truth: np.ndarray, region: str) -> float:
    """As KiTS19's official script; NaN if neither holds the region."""
    both = [np.isin(each, list(REGIONS[region])) for each in (label, truth)]
    total = both[0].sum() + both[1].sum()
    return float(2 * (both[0] & both[1]).sum() / total) if total else float("nan")


def in_air(volume: Volume, pixels: int) -> Volume:
    around = ((0, 0), (pixels, pixels), (pixels, pixels))
    image = np.pad(volume.image, around, constant_values=AIR_HU)
    return replace(volume, image=image, label=np.pad(volume.label, around))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--cases", type=Path, required=True, help="a folder in KiTS19's layout")
    parser.add_argument("--margins", type=int, nargs="+", default=[0, 8, 16, 32])
    parser.add_argument("--air", type=int, default=0, help="pixels added on every side")
    parser.add_argument("--first", type=int, help="only so many cases")
    given = parser.parse_args()
    volumes = [read_case(case) for case in list_cases(given.cases)[: given.first]]
    if given.air:
        volumes = [in_air(volume, given.air) for volume in volumes]
    for path in given.checkpoints:
        member = checkpoint.load(path)
        member = replace(member, size=None) if given.air else member
        print(f"{path}: {len(volumes)} cases")
        whole: list[np.ndarray] = []
        for margin in (None, *given.margins):
            segment = Segmenter([member], device="cpu", precision="32-true", crop=margin is not None)
            segmenter.MARGIN = 0 if margin is None else margin
            start = time.process_time()
            labels = [segment(each.image, each.spacing_mm) for each in volumes]
            taken = time.process_time() - start
            means = {
                region: np.nanmean(
                    [
                        dice(*pair, region)
                        for pair in zip(labels, (v.label for v in volumes), strict=True)
                    ]
                )
                for region in OFFICIAL
            }
            if margin is None:
                whole, seconds = labels, taken
            changed = sum(int((a != b).sum()) for a, b in zip(labels, whole, strict=True))
            found = sum(int((a | b).astype(bool).sum()) for a, b in zip(labels, whole, strict=True))
            print(
                f"  {'whole' if margin is None else f'margin {margin}':10} {changed:7} of {found} "
                f"labelled voxels differ ({changed / max(1, found):.2%}), "
                + ", ".join(f"{region} {value:.4f}" for region, value in means.items())
                + f"; {taken / seconds:.2f} of the time",
                flush=True,
            )


if __name__ == "__main__":
    main()
