"""Draw the pictures of the pages on planning and verdicts:

python docs/pictures/plan_and_verdict.py plan FILE.png
python docs/pictures/plan_and_verdict.py verdict FILE.png
"""

import sys

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from kitsseg.evaluation import power, random_effects
from kitsseg.evaluation.stats import Interval
from kitsseg.reporting.comparisons import MARGIN, decide

BLUE, ORANGE, GREEN, GREY, INK = "#0072b2", "#e69f00", "#009e73", "#767676", "#333333"
GAIN, SEEDS = 0.05, 3
EFFECTS = power.Effects(np.random.default_rng(0).normal(0, 0.08, 1000), 0.01, 0.05)
EXAMPLES = [  # mean difference, half width of its 95 % interval
    (0.055, 0.03),
    (-0.045, 0.025),
    (0.003, 0.012),
    (0.03, 0.045),
    (0.012, 0.009),
]
COLOURS = {"better": BLUE, "worse": ORANGE, "equivalent": GREEN, "undecided": GREY}


def studies(axes: Axes) -> None:
    """Draw the intervals of twenty studies of 12 cases."""
    drawn = power.draw(EFFECTS, GAIN, (20, SEEDS, 12), np.random.default_rng(3))
    for row, study in enumerate(drawn):
        is_found = power.count_found(study[None], True) == 1
        half = float(random_effects.half_width(study, 0.95))
        style = {"color": BLUE if is_found else GREY}
        axes.errorbar(study.mean(), row, xerr=half, fmt="o", markersize=4, **style)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.axvline(GAIN, color=INK, linewidth=0.8, linestyle="--")
    axes.set(xlabel="difference in Dice", yticks=[], ylabel="study", title="20 studies of 12 cases")


def curves(axes: Axes) -> None:
    """Draw power against the number of cases."""
    rng, cases = np.random.default_rng(0), (8, 12, 18, 27, 42, 63, 94)
    for seeds, colour in ((2, GREY), (3, BLUE), (5, ORANGE), (10, GREEN)):
        powers = [power.power(EFFECTS, GAIN, seeds, n, 1000, rng) for n in cases]
        axes.plot(cases, powers, marker="o", markersize=4, color=colour, label=f"{seeds} seeds")
    axes.axhline(0.8, color=INK, linewidth=0.8, linestyle="--")
    axes.set(xscale="log", xlabel="validation cases", ylabel="power", ylim=(0, 1), title="Power")
    axes.set_xticks(cases, [str(n) for n in cases])
    axes.minorticks_off()
    axes.legend(frameon=False)


def verdicts(axes: Axes) -> None:
    """Draw one interval of each verdict, and the margin."""
    axes.axvspan(-MARGIN, MARGIN, color=GREEN, alpha=0.15, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    for row, (mean, half) in enumerate(EXAMPLES):
        inner = half * 0.8  # about the 90 % interval
        wide, narrow = (Interval(mean, mean - h, mean + h) for h in (half, inner))
        verdict = decide(wide, narrow, 0.01 if abs(mean) > half else 0.5, SEEDS, MARGIN)
        colour = COLOURS[verdict]
        axes.plot([wide.low, wide.high], [row, row], color=colour, linewidth=1.5)
        axes.plot([narrow.low, narrow.high], [row, row], color=colour, linewidth=4)
        axes.plot(mean, row, marker="o", color=colour, markersize=7)
        axes.text(0.11, row, verdict, va="center", color=colour, fontsize=11)
    axes.set(xlabel="difference in Dice, first model minus second", yticks=[], xlim=(-0.1, 0.15))
    axes.text(0, -0.75, f"margin ±{MARGIN:g}", ha="center", fontsize=9, color=INK)
    axes.set_ylim(len(EXAMPLES) - 0.4, -1.1)


def main(name: str, path: str) -> None:
    if name == "plan":
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
        studies(left)
        curves(right)
    else:
        figure, axes = plt.subplots(figsize=(7, 2.8))
        verdicts(axes)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110, facecolor="white")


if __name__ == "__main__":
    main(*sys.argv[1:])
