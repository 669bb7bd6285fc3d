"""Prepare the content of a finished run that all trackers show."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kitsseg.data.drawing import bgr
from kitsseg.data.labels import Labels
from kitsseg.reporting import showcase, tables
from kitsseg.reporting.formats import words
from kitsseg.reporting.run_record import Record

SLICES_PER_CASE = 5


class ExampleSlice(NamedTuple):
    """One slice ``[H, W]`` of a showcase case."""

    role: str  # best, median or worst case
    number: int  # position among the slices of the case, from 0
    caption: str  # case, slice number and Dice of its target region
    image: npt.NDArray[np.uint8]
    masks: dict[str, npt.NDArray[np.uint8]]  # class ids: truth, prediction, before (fine-tuning)


def summary_metrics(record: Record) -> dict[str, float]:
    """Return the mean Dice values of Table 1 by name, where defined.

    The names are ``final/val_tumor`` etc., and ``before/val_tumor`` etc. for a fine-tuned run.
    """
    stages = {"final/": True, "before/": False} if record.after is not None else {"final/": True}
    return {
        stage + name: dice
        for stage, after in stages.items()
        for name, dice in tables.mean_dice(record, after).items()
        if not math.isnan(dice)
    }


def case_table(record: Record) -> tuple[list[str], list[list[Any]]]:
    """Return column names and one row per case; undefined values are None."""
    labels = record.label_set
    target, names = labels.target, labels.table_regions
    head = ["part", "case", *names, *(f"{name}_before" for name in names), f"{target}_change"]
    head += [*(f"{name}_ml" for name in names), f"{target}_predicted_ml"]
    rows: list[list[Any]] = []
    for part in ("validation", "train"):
        earlier = record.before[part] if record.after is not None else {}
        for case, scores in record.final[part].items():
            dice, dice_before = scores["dice"], earlier[case]["dice"] if earlier else {}
            now, then = dice[target], dice_before.get(target)
            change = None if now is None or then is None else now - then
            voxels = [*(scores["voxels"][name][2] for name in names), scores["voxels"][target][1]]
            volumes = [round(number * scores["voxel_ml"], 3) for number in voxels]
            before = [*map(dice_before.get, names), change]
            rows.append([part, case, *map(dice.get, names), *before, *volumes])
    return head, rows


def example_slices(folder: Path, record: Record) -> Iterator[ExampleSlice]:
    """Yield a few slices of each showcase case of a run, including that with the largest target area."""
    scores, target = record.final["validation"], record.label_set.target
    for shown in showcase.read(folder):
        last = len(shown.z) - 1
        spread = np.linspace(0, last, min(SLICES_PER_CASE, last + 1)).round().astype(int)
        dice = scores.get(shown.case, {}).get("dice", {}).get(target)
        score = f"no {words(target)}" if dice is None else f"{words(target)} Dice {dice:.3f}"
        for number, i in enumerate(sorted({*spread[1:-1].tolist(), shown.start})):
            masks = {name: mask[i] for name, mask in shown.masks.items()}
            caption = f"{shown.case}, slice {shown.z[i]}: {score}"
            yield ExampleSlice(shown.role, number, caption, shown.image[i], masks)


def overlay(example: ExampleSlice, labels: Labels) -> npt.NDArray[np.uint8]:
    """Return the slice coloured by each of its masks, side by side: ``[H, W × masks, 3]``."""
    chosen = (bgr(labels, number)[::-1] for number in range(1, len(labels.classes)))
    colours = np.array([(0, 0, 0), *chosen], np.float32)
    names = [name for name in ("truth", "before", "prediction") if name in example.masks]
    masks = np.concatenate([example.masks[name] for name in names], axis=1)
    grey = np.tile(example.image[:, :, None], (1, len(names), 3)).astype(np.float32)
    return np.where(masks[:, :, None] > 0, (grey + colours[masks]) / 2, grey).astype(np.uint8)


def best_checkpoints(folder: Path) -> dict[str, Path]:
    """Return the path of ``best.ckpt`` by stage (``train``, ``finetune``), where it exists."""
    paths = {stage: folder / "checkpoints" / stage / "best.ckpt" for stage in ("train", "finetune")}
    return {stage: path for stage, path in paths.items() if path.is_file()}
