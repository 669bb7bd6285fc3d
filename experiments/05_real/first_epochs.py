"""Print the kidney Dice after each of the first epochs of a sweep over experiments and seeds.

``python -m experiments.05_real.first_epochs SWEEP`` prints one row per experiment: the mean over its
seeds and, with several, the standard deviation. The Dice of a run is the mean over its validation cases.
"""

import sys
from pathlib import Path

import numpy as np

from kitsseg.reporting.runs import jobs_below

EPOCHS = (1, 2, 3, 4, 5, 6, 10)


def table(sweep: Path) -> str:
    """Return the table in Markdown."""
    curves: dict[str, list[list[float]]] = {}
    for job in jobs_below(sweep):
        if job.record is not None:
            given = dict(override.split("=", 1) for override in job.record.overrides)
            curve = [epoch["val/kidney_dice"] for epoch in job.record.curves["train"]]
            curves.setdefault(given["experiment"], []).append([curve[epoch - 1] for epoch in EPOCHS])
    columns = ["experiment", "seeds", *map(str, EPOCHS)]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, seeds in curves.items():
        cells = [f"{mean:.2f}" for mean in np.mean(seeds, axis=0)]
        if len(seeds) > 1:
            spread = np.std(seeds, axis=0, ddof=1)
            cells = [f"{cell} ± {sd:.2f}" for cell, sd in zip(cells, spread, strict=True)]
        lines.append(f"| {' | '.join([f'`{name}`', str(len(seeds)), *cells])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
