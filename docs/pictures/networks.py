"""Draw the U-Net and the attention gate: python docs/pictures/networks.py FILE.png"""

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

BLUE, ORANGE, GREEN, INK = "#56b4e9", "#e69f00", "#009e73", "#333333"


def box(
    axes: Axes, x: float, y: float, width: float, height: float, colour: str, text: str = ""
) -> None:
    axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor=INK, linewidth=0.8))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8, color=INK)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = INK) -> None:
    style = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=colour, linewidth=1.1)
    axes.add_patch(style)


def unet(axes: Axes) -> None:
    """Draw encoder, bottleneck and decoder; widths stand for channels, heights for resolution."""
    depth, gap = 4, 1.75
    heights = [1.5, 1.25, 1.0, 0.75, 0.55]
    widths = [0.3, 0.4, 0.55, 0.75, 1.0]
    for level in range(depth):
        y, left, right = -gap * level, 1.35 * level, 13.2 - 1.35 * level
        height, width = heights[level], widths[level]
        middle = y + height / 2
        box(axes, left, y, width, height, BLUE)
        box(axes, right - width, y, width, height, BLUE)
        axes.text(
            left - 0.15, middle, f"{2**level} w" if level else "w", ha="right", va="center", fontsize=8
        )
        top = -gap * (level + 1) + heights[level + 1]
        last = level == depth - 1
        arrow(axes, (left + width / 2, y), (6.2 if last else 1.35 * (level + 1) + 0.2, top), ORANGE)
        start = 7.2 if last else right - 1.35 - widths[level + 1] / 2
        arrow(axes, (start, top), (right - width / 2, y), GREEN)
        if level == 0:
            arrow(axes, (left + width, middle), (right - width, middle))
            continue
        gate = (left + right) / 2
        arrow(axes, (left + width, middle), (gate - 0.3, middle))
        axes.add_patch(plt.Circle((gate, middle), 0.3, facecolor="white", edgecolor=INK))
        axes.text(gate, middle, r"$\alpha$", ha="center", va="center", fontsize=10)
        arrow(axes, (gate + 0.3, middle), (right - width, middle))
        arrow(
            axes, (right - 1.35 - 0.3 if not last else 7.0, top), (gate + 0.2, middle - 0.26), "#999999"
        )
    box(axes, 6.1, -gap * depth, 1.0, heights[-1], BLUE)
    axes.text(7.2, -gap * depth + 0.15, f"{2**depth} w", fontsize=8, color=INK)
    axes.text(0.15, 2.0, "image", ha="center", fontsize=9)
    axes.text(13.05, 2.0, "logits", ha="center", fontsize=9)
    for row, (colour, text) in enumerate(
        [
            (BLUE, "two convolutions 3 x 3, batch norm, ReLU; w: width"),
            (ORANGE, "max pooling 2"),
            (GREEN, "transposed convolution 2"),
            (INK, r"skip, concatenated; $\alpha$: gate (attention U-Net only)"),
            ("#999999", "gating signal, one level below"),
        ]
    ):
        y = -8.1 - 0.5 * row
        axes.add_patch(Rectangle((0, y), 0.5, 0.25, color=colour))
        axes.text(0.7, y, text, fontsize=8.5, color=INK)
    axes.set_title("U-Net and attention U-Net", fontsize=11, loc="left")
    axes.set_xlim(-0.5, 13.8)
    axes.set_ylim(-10.5, 2.6)


def gate(axes: Axes) -> None:
    """Draw the attention gate."""
    box(axes, 0, 3, 1.3, 0.8, BLUE, "skip x")
    box(axes, 0, 0.6, 1.3, 0.8, "#b5d8cb", "gating g")
    box(axes, 2.3, 3, 1.7, 0.8, "white", "2 x 2\nstride 2")
    box(axes, 2.3, 0.6, 1.7, 0.8, "white", "1 x 1")
    axes.add_patch(plt.Circle((4.9, 2.2), 0.28, facecolor="white", edgecolor=INK))
    axes.text(4.9, 2.2, "+", ha="center", va="center", fontsize=12)
    box(axes, 5.7, 1.8, 1.2, 0.8, "white", "ReLU")
    box(axes, 7.4, 1.8, 1.2, 0.8, "white", "1 x 1")
    box(axes, 9.1, 1.8, 1.3, 0.8, "white", "sigmoid")
    box(axes, 10.9, 1.8, 1.7, 0.8, "white", "upsample")
    arrow(axes, (1.3, 3.4), (2.3, 3.4))
    arrow(axes, (1.3, 1.0), (2.3, 1.0))
    arrow(axes, (4.0, 3.4), (4.75, 2.45))
    arrow(axes, (4.0, 1.0), (4.75, 1.95))
    for start, end in ((5.18, 5.7), (6.9, 7.4), (8.6, 9.1), (10.4, 10.9)):
        arrow(axes, (start, 2.2), (end, 2.2))
    axes.add_patch(plt.Circle((11.75, 4.4), 0.28, facecolor="white", edgecolor=INK))
    axes.text(11.75, 4.4, "x", ha="center", va="center", fontsize=11)
    arrow(axes, (11.75, 2.6), (11.75, 4.12))
    axes.text(11.95, 3.2, r"$\alpha$, one per pixel", fontsize=9)
    axes.plot([0.65, 0.65], [3.8, 4.4], color=INK, linewidth=1.1)
    arrow(axes, (0.65, 4.4), (11.47, 4.4))
    arrow(axes, (12.03, 4.4), (13.2, 4.4))
    axes.text(13.25, 4.4, "gated skip", va="center", fontsize=9)
    axes.set_title("Attention gate", fontsize=11, loc="left")
    axes.set_xlim(-0.5, 15.6)
    axes.set_ylim(0.2, 5)


def main(path: str) -> None:
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 9), height_ratios=[2.5, 1])
    unet(top)
    gate(bottom)
    for axes in (top, bottom):
        axes.set_aspect("equal")
        axes.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110, facecolor="white")


if __name__ == "__main__":
    main(sys.argv[1])
