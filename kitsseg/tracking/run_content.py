"""Prepare the content of a finished run that all trackers show."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kitsseg.evaluation.metrics import CaseScores
from kitsseg.reporting import showcase, tables
from kitsseg.reporting.run_record import Record

# RGB by class: background, kidney (green), tumour (red); blended half and half with the image.
COLOURS = np.array([[0, 0, 0], [60, 190, 90], [230, 60, 60]], np.float32)
SLICES_PER_CASE = 5


class ExampleSlice(NamedTuple):
    """One slice ``[H, W]`` of a showcase case."""

    role: str  # best, median or worst case
    number: int  # position among the slices of the case, from 0
    caption: str  # case, slice number and tumour Dice of the case
    image: npt.NDArray[np.uint8]
    masks: dict[str, npt.NDArray[np.uint8]]  # class ids: truth, prediction, before (fine-tuning)


def summary_metrics(record: Record) -> dict[str, float]:
    """Return the mean Dice values of Table 1 by name, where defined.

    The names are ``final/val_tumor`` etc., and ``before/val_tumor`` etc. for a fine-tuned run.
    """
    stages = {"final/": True, "before/": False} if record.after is not None else {"final/": True}
    return {
        stage + column.lower().replace(" ", "_"): dice
        for stage, after in stages.items()
        for column, dice in zip(tables.COLUMNS, tables.mean_dice(record, after), strict=True)
        if not math.isnan(dice)
    }


def case_table(record: Record) -> tuple[list[str], list[list[Any]]]:
    """Return column names and one row per case; undefined values are None."""
    head = ["part", "case", "kidney", "tumour", "kidney_before", "tumour_before", "tumour_change"]
    head += ["kidney_ml", "tumour_ml", "tumour_predicted_ml"]
    rows: list[list[Any]] = []
    for part in ("validation", "train"):
        earlier = record.before[part] if record.after is not None else {}
        for case, scores in record.final[part].items():
            dice, dice_before = scores["dice"], earlier[case]["dice"] if earlier else {}
            tumour, tumour_before = dice["tumour"], dice_before.get("tumour")
            change = None if tumour is None or tumour_before is None else tumour - tumour_before
            (_, _, kidney_true), (_, predicted, true) = map(scores["voxels"].get, ("kidney", "tumour"))
            volumes = [round(n * scores["voxel_ml"], 3) for n in (kidney_true, true, predicted)]
            before = [dice_before.get("kidney"), tumour_before, change]
            rows.append([part, case, dice["kidney"], tumour, *before, *volumes])
    return head, rows


def example_slices(folder: Path, scores: CaseScores) -> Iterator[ExampleSlice]:
    """Yield a few slices of each showcase case of a run, including the one with most tumour."""
    for shown in showcase.read(folder):
        last = len(shown.z) - 1
        spread = np.linspace(0, last, min(SLICES_PER_CASE, last + 1)).round().astype(int)
        dice = scores.get(shown.case, {}).get("dice", {}).get("tumour")
        score = "no tumour" if dice is None else f"tumour Dice {dice:.3f}"
        for number, i in enumerate(sorted({*spread[1:-1].tolist(), shown.start})):
            masks = {name: mask[i] for name, mask in shown.masks.items()}
            caption = f"{shown.case}, slice {shown.z[i]}: {score}"
            yield ExampleSlice(shown.role, number, caption, shown.image[i], masks)


def overlay(example: ExampleSlice) -> npt.NDArray[np.uint8]:
    """Return the slice coloured by each of its masks, side by side: ``[H, W × masks, 3]``."""
    names = [name for name in ("truth", "before", "prediction") if name in example.masks]
    masks = np.concatenate([example.masks[name] for name in names], axis=1)
    grey = np.tile(example.image[:, :, None], (1, len(names), 3)).astype(np.float32)
    return np.where(masks[:, :, None] > 0, (grey + COLOURS[masks]) / 2, grey).astype(np.uint8)


def best_checkpoints(folder: Path) -> dict[str, Path]:
    """Return the path of ``best.ckpt`` by stage (``train``, ``finetune``), where it exists."""
    paths = {stage: folder / "checkpoints" / stage / "best.ckpt" for stage in ("train", "finetune")}
    return {stage: path for stage, path in paths.items() if path.is_file()}
