"""A run's figures as every tracker gets them: numbers, a table of its cases, pictures, weights."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kitsseg.evaluation.metrics import CaseScores
from kitsseg.reporting import showcase, tables
from kitsseg.reporting.run_record import Record

BEFORE, FINAL = "before/", "final/"
# Truth and prediction side by side: kidney green, tumour red, half of the image shining through.
TINTS = np.array([[0, 0, 0], [60, 190, 90], [230, 60, 60]], np.float32)
SLICES = 5


@dataclass(frozen=True)
class Picture:
    """A slice of a case to look at.

    Attributes:
        role: of its case, ``best``, ``median`` or ``worst``.
        caption: case, slice and the case's tumour Dice.
        image: ``[H, W]`` uint8.
        masks: class ids ``[H, W]``: ``truth``, ``prediction`` and perhaps ``before``.
    """

    role: str
    caption: str
    image: np.ndarray
    masks: dict[str, np.ndarray]


def numbers(record: Record) -> dict[str, float]:
    """Case means as in Table 1: ``final/val_tumor``, and ``before/…`` of a run that was fine-tuned."""
    names = [column.lower().replace(" ", "_") for column in tables.COLUMNS]
    found = dict(zip((FINAL + n for n in names), tables.mean_dice(record, after=True), strict=True))
    if record.after is not None:
        found |= dict(zip((BEFORE + n for n in names), tables.mean_dice(record), strict=True))
    return {name: value for name, value in found.items() if not math.isnan(value)}


def cases(record: Record) -> tuple[list[Any], list[list[Any]]]:
    """Column names and a row a case; None where there's no figure."""
    head = ["part", "case", "kidney", "tumour", "kidney_before", "tumour_before", "tumour_change"]
    head += ["kidney_ml", "tumour_ml", "tumour_predicted_ml"]
    rows: list[list[Any]] = []
    for part in ("validation", "train"):
        for case, figures in record.final.get(part, {}).items():
            kidney, tumour = (figures["dice"][region] for region in ("kidney", "tumour"))
            first = record.before[part].get(case, {}).get("dice", {}) if record.after is not None else {}
            was = [first.get("kidney"), first.get("tumour")]
            change = None if tumour is None or was[1] is None else tumour - was[1]
            ml = [_ml(figures, *which) for which in (("kidney", 2), ("tumour", 2), ("tumour", 1))]
            rows.append([part, case, kidney, tumour, *was, change, *ml])
    return head, rows


def _ml(figures: dict[str, Any], region: str, which: int) -> float | None:
    """The volume of a region's prediction (1) or truth (2)."""
    voxels, each = figures.get("voxels", {}).get(region), figures.get("voxel_ml")
    return None if voxels is None or each is None else round(voxels[which] * each, 3)


def pictures(folder: Path, figures: CaseScores) -> Iterator[Picture]:
    """A few slices of each case that the run in ``folder`` keeps to be looked at, head first.

    Args:
        folder: of the run.
        figures: of its validation cases.
    """
    for shown in showcase.read(folder):
        spread = np.linspace(0, len(shown.z) - 1, min(SLICES, len(shown.z))).round().astype(int)
        dice = figures.get(shown.case, {}).get("dice", {}).get("tumour")
        score = "no tumour" if dice is None else f"tumour Dice {dice:.3f}"
        for i in sorted({*spread[1:-1].tolist(), shown.start}):
            masks = {name: mask[i] for name, mask in shown.masks.items()}
            caption = f"{shown.case}, slice {shown.z[i]}: {score}"
            yield Picture(shown.role, caption, shown.image[i], masks)


def side_by_side(picture: Picture) -> np.ndarray:
    """``[H, W × masks, 3]`` uint8: the slice tinted with each of its masks."""
    grey = np.repeat(picture.image[:, :, None], 3, axis=2).astype(np.float32)
    panels = []
    for name in ("truth", "before", "prediction"):
        if name in picture.masks:
            mask = picture.masks[name]
            tinted = np.where(mask[:, :, None] > 0, (grey + TINTS[mask]) / 2, grey)
            panels.append(tinted.astype(np.uint8))
    return np.concatenate(panels, axis=1)


def best_checkpoints(folder: Path) -> dict[str, Path]:
    """``{"train": …/best.ckpt}`` and so on, of the stages that have one."""
    found = {path.parent.name: path for path in (folder / "checkpoints").glob("*/best.ckpt")}
    return {stage: found[stage] for stage in ("train", "finetune") if stage in found}
