"""Draw intervals of a skewed metric's mean and median: python docs/pictures/skewed.py FILE.png"""

import sys

import matplotlib
import numpy as np

from kitsseg.evaluation.stats import mean_interval, median_interval

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BLUE, ORANGE, INK = "#0072b2", "#d55e00", "#333333"
STUDIES, CASES = 20, 12
MEDIAN_MM, SPREAD = 4.0, 1.5  # of a lognormal population of distances
TRUTHS = {"Mean": MEDIAN_MM * np.exp(SPREAD**2 / 2), "Median": MEDIAN_MM}


def main(path: str) -> None:
    """Simulate studies of one population, and draw both intervals of each."""
    samples = np.random.default_rng(3).lognormal(np.log(MEDIAN_MM), SPREAD, (STUDIES, CASES))
    means = [mean_interval(sample) for sample in samples]
    found = {
        "Mean": [(each.mean, each.low, each.high) for each in means],
        "Median": [median_interval(sample) for sample in samples],
    }
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), sharex=True, sharey=True)
    for axes, (name, intervals) in zip(panels, found.items(), strict=True):
        missed = 0
        for study, (value, low, high) in enumerate(intervals):
            misses = not low <= TRUTHS[name] <= high
            missed += misses
            color = ORANGE if misses else BLUE
            axes.plot((low, high), (study, study), color=color, linewidth=2)
            axes.plot(value, study, "o", color=color, markersize=5)
        axes.axvline(TRUTHS[name], color=INK, linestyle="--", linewidth=1)
        axes.set_title(f"{name}: {missed} of {STUDIES} intervals miss the truth")
        axes.set_xscale("log")
        axes.set_xlabel("HD95 (mm), logarithmic")
        axes.set_yticks([])
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    panels[0].set_ylabel(f"studies of {CASES} patients")
    figure.tight_layout()
    figure.savefig(path, dpi=100, facecolor="white")


if __name__ == "__main__":
    main(sys.argv[1])
