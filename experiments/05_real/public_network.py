"""Compare runs with a network that others trained, slice by slice.

``python -m experiments.05_real.public_network DIR DICE.csv RUN...`` reads the label volumes that the
runs of one recipe, one per seed, predicted for their validation cases. It prints the mean Dice of kidney
and tumour together on the slices in DICE.csv, and the paired difference over their patients. DIR holds
the cases and slices.json, the list of the slices of each case. DICE.csv has the columns case, kind and
dice_kidney_and_tumour.
"""

import csv
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from kitsseg.evaluation import stats
from kitsseg.evaluation.metrics import dice

Dice = dict[tuple[str, str], float]  # by case and kind of slice


def read_public(path: Path) -> Dice:
    """Return the Dice of the public network."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["case"], row["kind"]): float(row["dice_kidney_and_tumour"]) for row in rows}


def read_run(root: Path, run: Path) -> Dice:
    """Return the Dice of a run on each slice of its validation cases."""
    kinds = json.loads((root / "slices.json").read_text())
    found: Dice = {}
    for case in json.loads((run / "split.json").read_text())["validation"]:
        predicted = read_label_volume(run / "predictions" / f"{case}.nii.gz")
        truth = read_label_volume(root / case / "segmentation.nii.gz")
        for place, each in enumerate(kinds[case]):
            a, b = predicted[place], truth[place]
            counts = np.array([(a & b).sum(), a.sum(), b.sum()])
            found[case, each["kind"]] = float(dice(counts))
    return found


def read_label_volume(path: Path) -> npt.NDArray[np.bool_]:
    """Return where a label volume ``[slices, rows, columns]`` has any class."""
    return np.asarray(nib.load(path).dataobj) > 0  # type: ignore[attr-defined]


def main() -> None:
    root, table, *folders = map(Path, sys.argv[1:])
    public, ours = read_public(table), [read_run(root, run) for run in folders]
    slices = sorted(set(public).intersection(*ours))
    cases = sorted({case for case, _ in slices})

    def per_case(values: Dice) -> list[float]:
        return [float(np.mean([values[key] for key in slices if key[0] == case])) for case in cases]

    print(f"{len(slices)} slices of {len(cases)} patients")
    print(f"public network: mean Dice {np.mean([public[key] for key in slices]):.3f}")
    for run, values in zip(folders, ours, strict=True):
        print(f"{run.name}: mean Dice {np.mean([values[key] for key in slices]):.3f}")
    found = stats.paired([per_case(values) for values in ours], [per_case(public)])
    d = found.difference
    print(f"difference per patient: {d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}], p = {found.p:.3g}")


if __name__ == "__main__":
    main()
