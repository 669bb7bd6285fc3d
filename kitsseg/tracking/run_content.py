"""Prepare the content of a finished run that all trackers show."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.evaluation.metrics import CaseScores
from kitsseg.reporting import showcase, tables
from kitsseg.reporting.run_record import Record

BEFORE, FINAL = "before/", "final/"
# RGB by class: background, kidney (green), tumour (red); blended half and half with the image.
COLOURS = np.array([[0, 0, 0], [60, 190, 90], [230, 60, 60]], np.float32)
SLICES_PER_CASE = 5


@dataclass(frozen=True)
class ExampleSlice:
    """One slice of a showcase case.

    Attributes:
        role: ``best``, ``median`` or ``worst`` case.
        caption: case, slice number and tumour Dice of the case.
        image: ``[H, W]`` uint8.
        masks: class ids ``[H, W]``: ``truth``, ``prediction`` and, after fine-tuning, ``before``.
    """

    role: str
    caption: str
    image: npt.NDArray[np.uint8]
    masks: dict[str, npt.NDArray[np.uint8]]


def summary_metrics(record: Record) -> dict[str, float]:
    """Return the mean Dice values of Table 1 by name; undefined values are left out.

    The names are ``final/val_tumor`` etc., and ``before/val_tumor`` etc. for a fine-tuned run.
    """
    names = [column.lower().replace(" ", "_") for column in tables.COLUMNS]
    values = dict(zip((FINAL + n for n in names), tables.mean_dice(record, after=True), strict=True))
    if record.after is not None:
        values |= dict(zip((BEFORE + n for n in names), tables.mean_dice(record), strict=True))
    return {name: value for name, value in values.items() if not math.isnan(value)}


def case_table(record: Record) -> tuple[list[str], list[list[Any]]]:
    """Return column names and one row per case; undefined values are None."""
    head = ["part", "case", "kidney", "tumour", "kidney_before", "tumour_before", "tumour_change"]
    head += ["kidney_ml", "tumour_ml", "tumour_predicted_ml"]
    rows: list[list[Any]] = []
    for part in ("validation", "train"):
        for case, scores in record.final.get(part, {}).items():
            kidney, tumour = (scores["dice"][region] for region in ("kidney", "tumour"))
            before = (
                record.before[part].get(case, {}).get("dice", {}) if record.after is not None else {}
            )
            dice_before = [before.get("kidney"), before.get("tumour")]
            defined = tumour is not None and dice_before[1] is not None
            change = tumour - dice_before[1] if defined else None
            volumes = [_volume_ml(scores, *key) for key in (("kidney", 2), ("tumour", 2), ("tumour", 1))]
            rows.append([part, case, kidney, tumour, *dice_before, change, *volumes])
    return head, rows


def _volume_ml(scores: dict[str, Any], region: str, index: int) -> float | None:
    """Return the volume of a region in ml, of the prediction (index 1) or the truth (index 2)."""
    voxels, voxel_ml = scores.get("voxels", {}).get(region), scores.get("voxel_ml")
    return None if voxels is None or voxel_ml is None else round(voxels[index] * voxel_ml, 3)


def example_slices(folder: Path, scores: CaseScores) -> Iterator[ExampleSlice]:
    """Yield a few slices of each showcase case, including the one with most tumour.

    Args:
        folder: folder of the run.
        scores: scores of its validation cases.
    """
    for shown in showcase.read(folder):
        count = min(SLICES_PER_CASE, len(shown.z))
        spread = np.linspace(0, len(shown.z) - 1, count).round().astype(int)
        dice = scores.get(shown.case, {}).get("dice", {}).get("tumour")
        score = "no tumour" if dice is None else f"tumour Dice {dice:.3f}"
        for i in sorted({*spread[1:-1].tolist(), shown.start}):
            masks = {name: mask[i] for name, mask in shown.masks.items()}
            caption = f"{shown.case}, slice {shown.z[i]}: {score}"
            yield ExampleSlice(shown.role, caption, shown.image[i], masks)


def overlay(example: ExampleSlice) -> npt.NDArray[np.uint8]:
    """Return the slice coloured by each of its masks, side by side: ``[H, W × masks, 3]``."""
    grey = np.repeat(example.image[:, :, None], 3, axis=2).astype(np.float32)
    panels = []
    for name in ("truth", "before", "prediction"):
        if name in example.masks:
            mask = example.masks[name]
            blended = np.where(mask[:, :, None] > 0, (grey + COLOURS[mask]) / 2, grey)
            panels.append(blended.astype(np.uint8))
    return np.concatenate(panels, axis=1)


def best_checkpoints(folder: Path) -> dict[str, Path]:
    """Return the path of ``best.ckpt`` by stage (``train``, ``finetune``), where it exists."""
    paths = {stage: folder / "checkpoints" / stage / "best.ckpt" for stage in ("train", "finetune")}
    return {stage: path for stage, path in paths.items() if path.is_file()}
