"""Write result folders with made-up metrics."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from kitsseg.evaluation.metrics import CaseScores
from kitsseg.reporting import showcase
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.showcase import ExampleCase
from kitsseg.training import showcase as training_showcase

VOXEL_ML = 0.002
EVIL = "<script>window.evil = 1</script>"


def case(kidney: float | None, tumour: float | None, voxels: int = 1000) -> dict[str, Any]:
    """Return a case's entry with ``voxels`` voxels of tumour."""
    return {
        "dice": {"kidney": kidney, "tumour": tumour, "kidney_label": kidney},
        "voxels": {"kidney": [5, 5, 9000], "tumour": [5, 5, voxels], "kidney_label": [5, 5, 8000]},
        "voxel_ml": VOXEL_ML,
    }


def figures(tumour: list[float | None]) -> CaseScores:
    """Return validation cases 10, 11, …; each tumour is twice as large as the one before."""
    return {f"case_{10 + i:05d}": case(0.95, t, 1000 * 2**i) for i, t in enumerate(tumour)}


def record(model: str, before: list[float | None], after: list[float | None], **changes: Any) -> Record:
    """Return a record of version 2 with learning curves of five and three epochs."""
    training = {"case_00001": case(0.97, 0.8)}
    curve = [
        {"epoch": i, "lr": 1e-3, "train/loss": 0.8 / (i + 1), "val/loss": 0.9 / (i + 1),
         "val/kidney_dice": 0.9, "val/tumour_dice": 0.1 * i}
        for i in range(5)
    ]  # fmt: skip
    values: dict[str, Any] = {
        "name": "made", "model": model, "seed": 0, "overrides": [f"model={model}", "data=x"],
        "before": {"train": training, "validation": figures(before)},
        "after": {"train": training, "validation": figures(after)},
        "split": {"train": ["case_00001"], "validation": sorted(figures(after))},
        "epochs": {"train": {"run": 5, "best": 4}, "finetune": {"run": 3, "best": 1}},
        "config": {"seed": 0, "model": {"_target_": model, "width": 8}, "paths": {"data": model}},
        "hashes": {f"case_{i:05d}": {"image": 64 * "a", "label": 64 * "b"} for i in range(20)},
        "checkpoints": {"train": 64 * "c"},
        "environment": {"commit": "0123456789ab", "device": "cpu: some"}, "seconds": {"train": 3725.0},
        "curves": {"train": curve, "finetune": curve[:3]},
    }  # fmt: skip
    return Record(**{**values, **changes})


def shown(role: str, case: str, gates: int, slices: int = 12) -> ExampleCase:
    """Return a square tumour in a square kidney; the prediction is shifted by two pixels."""
    rng = np.random.default_rng(int(case[-5:]))
    image = rng.integers(60, 160, (slices, 48, 64)).astype(np.uint8)
    masks = {name: np.zeros(image.shape, np.uint8) for name in ("truth", "prediction", "before")}
    for shift, mask in enumerate(masks.values()):
        mask[2:-2, 10 : 34 - shift, 10 + 2 * shift : 40] = 1
        mask[4:-3, 14:24, 18 + 2 * shift : 28 + 2 * shift] = 2
    maps = [np.linspace(0, 1, 48 * 64, dtype=np.float32).reshape(48, 64) for _ in range(gates)]
    z = np.arange(20, 20 + slices)
    return ExampleCase(role, case, z, image, masks, slices // 2, maps, [(6, 8)] * gates)


def write_run(folder: Path, run: Record, gates: int = 0) -> Path:
    """Write a finished run with its showcase."""
    folder.mkdir(parents=True)
    run.write(folder)
    status(folder, "complete")
    for role, name in training_showcase.choose_examples(run.final["validation"], "tumour").items():
        training_showcase.save(folder / showcase.FOLDER, shown(role, name, gates))
    return folder


def status(folder: Path, state: str, **more: str) -> None:
    """Write ``status.json`` as `kitsseg.jobs.sweep.guard` does."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {"status": state, "started": 1.8e9, "changed": 1.8e9 + 60, **more}
    (folder / "status.json").write_text(json.dumps(values))


def sweep(folder: Path) -> Path:
    """Write two finished runs, one that failed with markup in its reason and one still running."""
    unet = record("unet", [0.1, 0.5, 0.7, 0.8], [0.0, 0.4, 0.7, 0.9])
    gated = record("attn_unet", [0.2, 0.5, 0.8, 0.8], [0.3, 0.6, 0.8, 0.95], name=f"made {EVIL}")
    write_run(folder / "0_model=unet", unet)
    write_run(folder / "1_model=attn_unet", gated, gates=2)
    status(folder / "2_model=bad", "failed", error=f"no such loss {EVIL}")
    status(folder / "10_model=slow", "running")
    return folder
