"""Synthetic records of runs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from kitsseg.evaluation import metrics
from kitsseg.reporting.run_record import RESULT, Record, job_order


def find_records(folder: Path) -> list[Path]:
    """Return the paths of all records below ``folder`` in job order."""
    return sorted(folder.rglob(RESULT), key=lambda path: job_order(path.parent))


def part(kidney: list[float | None], tumour: list[float | None], first: int = 0) -> metrics.CaseScores:
    """Return the metrics of cases numbered from ``first``."""
    return {
        f"case_{first + i:05d}": {"dice": {"kidney": k, "tumour": t, "kidney_label": k}, "voxels": {}}
        for i, (k, t) in enumerate(zip(kidney, tumour, strict=True))
    }


def record(model: str = "unet", seed: int = 0, shift: float = 0.0, **changes: Any) -> Record:
    """Return a record with two training cases and a validation case, whose Dice ``shift`` changes."""
    before = {
        "train": part([0.9, 0.8], [0.6, 0.4]),
        "validation": part([0.8 + shift], [0.3 + shift], first=2),
    }
    base = Record(
        name="t", model=model, seed=seed, overrides=[f"model={model}", "data=x"], before=before,
        after=None, split={"train": ["a", "b"], "validation": ["c"]},
        epochs={"train": {"run": 5, "best": 4}}, config={},
        environment={}, seconds={},
    )  # fmt: skip
    return replace(base, **changes)


def validated(
    model: str, dice: list[float | None], first: int = 0, seed: int = 0, options: tuple[str, ...] = ()
) -> Record:
    """Return a record with the same validation Dice in both regions and one training case."""
    figures = {"train": part([0.9], [0.6], 900), "validation": part(dice, dice, first)}
    return record(model, seed, before=figures, overrides=[f"model={model}", *options])
