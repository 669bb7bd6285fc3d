"""Draw why the best epoch looks too good: python docs/pictures/choosing.py FILE.png"""

import sys

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BLUE, ORANGE, GREEN, INK = "#56b4e9", "#e69f00", "#009e73", "#333333"


def main(path: str) -> None:
    """Simulate 40 epochs on 12 validation cases, and on very many cases."""
    rng, epochs = np.random.default_rng(4), np.arange(1, 41)
    true = 0.75 - 0.35 * np.exp(-epochs / 8)
    noise = rng.normal(0, 0.13, (12, len(epochs)))
    for epoch in range(1, len(epochs)):
        noise[:, epoch] = 0.6 * noise[:, epoch - 1] + 0.8 * noise[:, epoch]
    seen = true + noise.mean(axis=0)
    best = int(seen.argmax())
    figure, axes = plt.subplots(figsize=(7, 3.4))
    axes.plot(epochs, seen, color=BLUE, linewidth=1.5, label="mean of the 12 validation cases")
    axes.plot(epochs, true, color=INK, linewidth=1.5, label="mean of all patients (unknown)")
    axes.plot(epochs[best], seen[best], "o", color=ORANGE, label="chosen epoch: the raw mean")
    axes.plot(epochs[best], true[best], "o", color=GREEN, label="what it achieves on new patients")
    axes.annotate(
        "", (epochs[best], true[best]), (epochs[best], seen[best]), arrowprops={"arrowstyle": "->"}
    )
    axes.text(epochs[best] + 0.6, (seen[best] + true[best]) / 2, "optimism", color=INK, va="center")
    axes.set_xlabel("epoch")
    axes.set_ylabel("tumour Dice")
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=100, facecolor="white")


if __name__ == "__main__":
    main(sys.argv[1])
