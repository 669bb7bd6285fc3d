"""Draw the best, median and worst validation case of runs.

``python -m experiments.05_real.draw_slices PICTURE.png RUN...`` draws one row per run. Cases are in the
order of their tumour Dice. Thick outlines are the prediction, thin ones the truth; yellow is the kidney,
and red the tumour.
"""

import json
import sys
from pathlib import Path

import matplotlib

from kitsseg.data.labels import KITS19
from kitsseg.reporting import showcase

COLOURS = {1: "gold", 2: "red"}


def draw(runs: list[Path], path: Path) -> None:
    """Draw the example cases of ``runs`` into a picture."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (3 * len(showcase.ROLES), 3.3 * len(runs))
    figure, axes = pyplot.subplots(len(runs), len(showcase.ROLES), figsize=size, squeeze=False)
    for run, row in zip(runs, axes, strict=True):
        record = json.loads((run / "result.json").read_text())
        scores = (record["after"] or record["before"])["validation"]
        for axis, example in zip(row, showcase.read(run), strict=False):
            axis.imshow(example.image[example.start], cmap="gray", vmin=0, vmax=255)
            for name, width in (("truth", 0.8), ("prediction", 1.8)):
                for class_id, colour in COLOURS.items():
                    mask = example.masks[name][example.start] == class_id
                    if mask.any():
                        axis.contour(mask, [0.5], colors=colour, linewidths=width)
            dice = scores[example.case]["dice"]
            values = ", ".join(f"{region} {dice[region]:.2f}" for region in KITS19.table_regions)
            axis.set_title(f"{record['model']}, {example.role}\n{values}", fontsize=8)
        for axis in row:
            axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    draw([Path(run) for run in sys.argv[2:]], Path(sys.argv[1]))
