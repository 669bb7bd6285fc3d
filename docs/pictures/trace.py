"""Draw what a number is computed from, and how sites exchange results: trace.py FILE.png"""

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

BLUE, ORANGE, GREEN, INK, WHITE = "#56b4e9", "#e69f00", "#009e73", "#333333", "white"


def box(axes: Axes, x: float, y: float, width: float, text: str, colour: str = WHITE) -> None:
    shape = FancyBboxPatch(
        (x, y), width, 0.9, boxstyle="round,pad=0.02,rounding_size=0.08", facecolor=colour,
        edgecolor=INK, linewidth=0.9,
    )  # fmt: skip
    axes.add_patch(shape)
    axes.text(x + width / 2, y + 0.45, text, ha="center", va="center", fontsize=8.5, color=INK)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "") -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 10, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(start, end, color=INK, **style))
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    axes.text(x, y + 0.12, text, ha="center", fontsize=8, color=INK)


def back(axes: Axes, start: float, end: float, y: float, top: float, text: str) -> None:
    """Draw an arrow from the report down to ``y``, to the left, and up to ``top``."""
    axes.plot([start, start, end], [0.6, y, y], color=INK, linewidth=1)
    arrow(axes, (end, y), (end, top))
    axes.text(
        (start + end) / 2, y + 0.08, text, ha="center", fontsize=8.5, family="monospace", color=INK
    )


def source(axes: Axes) -> None:
    """Draw the chain from files to a number."""
    box(axes, 0, 1.3, 2.3, "images and labels\nSHA-256 of each file", BLUE)
    box(axes, 0, 0, 2.3, "checkpoint\nSHA-256, commit", BLUE)
    box(axes, 3.4, 0.65, 2.3, "predictions")
    box(axes, 6.8, 0.65, 2.3, "result.json\nDice of each case", ORANGE)
    box(axes, 10.2, 0.65, 2.3, "report.html\n0.812 [0.71, 0.89]", GREEN)
    arrow(axes, (2.35, 1.6), (3.35, 1.25))
    arrow(axes, (2.35, 0.5), (3.35, 0.95))
    arrow(axes, (5.75, 1.1), (6.75, 1.1))
    arrow(axes, (9.15, 1.1), (10.15, 1.1), "mean")
    back(axes, 11.0, 7.95, 0.2, 0.6, "cell=NAME")
    back(axes, 11.7, 1.15, -0.55, -0.05, "cell=NAME recompute=true")
    axes.set_title("Each number leads back to its files", fontsize=11, loc="left")
    axes.set_xlim(-0.2, 12.7)
    axes.set_ylim(-0.7, 2.4)


def sites(axes: Axes) -> None:
    """Draw three hospitals that send files without images."""
    for row, name in enumerate(("A", "B", "C")):
        y = 2.6 - 1.3 * row
        box(axes, 0, y, 3.2, f"hospital {name}\nimages, labels, result.json", BLUE)
        box(axes, 5.4, y, 2.6, f"hospital_{name.lower()}.json\nDice of each case", ORANGE)
        arrow(axes, (3.25, y + 0.45), (5.35, y + 0.45), "share=")
        arrow(axes, (8.05, y + 0.45), (9.75, 1.75))
    box(axes, 9.8, 1.3, 2.7, "one table of all sites\nmean, range of a new site", GREEN)
    axes.text(4.3, 0.02, "images, names and\nfolders stay", ha="center", fontsize=8, color=INK)
    axes.set_title("Several sites", fontsize=11, loc="left")
    axes.set_xlim(-0.2, 12.7)
    axes.set_ylim(-0.3, 3.8)


def main(path: str) -> None:
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 5.2), height_ratios=[2.9, 4.1])
    source(top)
    sites(bottom)
    for axes in (top, bottom):
        axes.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110, facecolor="white")


if __name__ == "__main__":
    main(sys.argv[1])
