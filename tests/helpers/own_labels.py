"""Made-up runs with other classes and regions than KiTS19's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kitsseg.data.labels import Labels
from kitsseg.reporting import showcase
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.showcase import ExampleCase
from kitsseg.training import showcase as training_showcase
from tests.data.test_labels import KITS23 as KITS23_VALUES

KITS23 = Labels(**KITS23_VALUES)
ORGAN = Labels(["background", "organ"], {"organ": ["organ"]}, "organ")
NAMES = [f"part_{number}" for number in range(1, 64)]
PARTS = Labels(["background", *NAMES], {name: [name] for name in NAMES}, "part_7")


def run_of(labels: Labels, model: str, dice: Sequence[float], gain: float = 0.0) -> Record:
    """Return a record whose Dice falls by 0.01 from region to region; fine-tuning adds ``gain``."""

    def scores(first: int, values: Sequence[float], more: float) -> dict[str, Any]:
        return {
            f"case_{first + i:05d}": {
                "dice": {r: max(0.0, value + more - 0.01 * n) for n, r in enumerate(labels.regions)},
                "voxels": {region: [50, 60, 1000 * 4**i] for region in labels.regions},
                "voxel_ml": 0.01,
            }
            for i, value in enumerate(values)
        }

    figures = [{"train": scores(0, [0.9, 0.8], m), "validation": scores(10, dice, m)} for m in (0, gain)]
    curve = [{"epoch": 0, "val/loss": 0.5, **{f"val/{region}_dice": 0.5 for region in labels.regions}}]
    return Record(
        name="own", model=model, seed=0, overrides=[f"model={model}"], before=figures[0],
        after=figures[1] if gain else None, split={},
        epochs={"train": {"run": 1, "best": 1}}, config={}, environment={}, seconds={},
        curves={"train": curve}, labels=labels.as_dict(),
    )  # fmt: skip


def write_run(folder: Path, run: Record) -> Path:
    """Write a run, and slices of its first validation case with a column for each class."""
    folder.mkdir()
    run.write(folder)
    classes = len(run.label_set.classes)
    truth = np.zeros((3, 40, 4 * classes + 8), np.uint8)
    truth[1:, 10:30, 4:-4] = np.repeat(np.arange(classes), 4)
    masks = {
        "truth": truth,
        "prediction": np.roll(truth, 2, axis=1),
        "before": np.roll(truth, 4, axis=1),
    }
    image = np.full(truth.shape, 90, np.uint8)
    case = ExampleCase("best", "case_00010", np.arange(3), image, masks, 1, [], [])
    training_showcase.save(folder / showcase.FOLDER, case)
    return folder
