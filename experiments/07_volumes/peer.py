"""Training of kitsseg against a MONAI loop over several seeds.

    python -m experiments.07_volumes.peer --figure FILE RECORD.json [RECORD.json ...]

Each RECORD is a file that `benchmarks/quality.py --record` wrote with another seed. Prints when each
training reached the aims, the mean Dice of each at the end, and the differences over cases and seeds.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from kitsseg.evaluation import stats
from kitsseg.evaluation.metrics import mean_over_cases

AIMS = {"kidney": 0.95, "tumour": 0.50}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path)
    parser.add_argument("records", type=Path, nargs="+")
    args = parser.parse_args()
    records = [json.loads(path.read_text()) for path in args.records]
    if any(record["cases"] != records[0]["cases"] for record in records):
        raise SystemExit("the records have different cases")
    curves = {name: [record["curves"][name] for record in records] for name in records[0]["curves"]}
    last = {name: np.array([curve[-1][1] for curve in curves[name]]) for name in curves}
    print("| | both aims reached after, s | at the end: s | kidney | tumour |\n|---|---|---|---|---|")
    for name, of_seeds in curves.items():
        after = ", ".join(reached(curve) for curve in of_seeds)
        ends = ", ".join(f"{curve[-1][0]:.0f}" for curve in of_seeds)
        scores = [np.array([mean_over_cases(row) for row in last[name][..., i]]) for i in range(2)]
        cells = [f"{each.mean():.3f} ({', '.join(f'{v:.3f}' for v in each)})" for each in scores]
        print(f"| {name} | {after} | {ends} | {' | '.join(cells)} |")
    ours, *peers = last
    for peer in peers:
        for i, region in enumerate(AIMS):
            found = stats.paired(last[ours][..., i], last[peer][..., i])
            low, high = found.difference.low, found.difference.high
            text = f"{found.difference.mean:+.3f} [{low:+.3f}, {high:+.3f}], p = {found.p:.2g}"
            print(f"{ours} − {peer}, {region}: {text}")
    if args.figure:
        plot(curves, args.figure)


def means(scores: Any) -> list[float]:
    """Return the mean kidney and tumour Dice of ``[cases, regions]``."""
    return [mean_over_cases(column) for column in np.array(scores).T[: len(AIMS)]]


def reached(curve: list[Any]) -> str:
    """Return the seconds until a validation met both aims."""
    for seconds, scores in curve:
        if all(np.array(means(scores)) >= [*AIMS.values()]):
            return f"{seconds:.0f}"
    return "not reached"


def plot(curves: dict[str, list[Any]], path: Path) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4))
    for axis, (column, (region, aim)) in zip(axes, enumerate(AIMS.items()), strict=True):
        for number, (name, of_seeds) in enumerate(curves.items()):
            for curve in of_seeds:
                minutes = [seconds / 60 for seconds, _ in curve]
                values = [means(scores)[column] for _, scores in curve]
                label = name if curve is of_seeds[0] else None
                axis.plot(minutes, values, "o-", ms=3, lw=1, color=f"C{number}", label=label)
        axis.axhline(aim, color="grey", lw=0.8, ls="--")
        axis.set(xlabel="minutes", ylabel=f"validation {region} Dice, mean over cases")
    axes[1].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
