"""Run `kitsseg.evaluate` on six cases and read its output."""

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from kitsseg.config.validation import CONFIG_DIR
from kitsseg.data.case import Case
from kitsseg.evaluate import run
from tests.conftest import AFFINE

TOLERANCE_MM = 1.0330772532390826  # of the kidney in conf/evaluate.yaml


def evaluate(predictions: Path, truth: Path, output: Path, *overrides: str) -> int:
    given = [f"predictions={predictions}", f"truth={truth}", f"output={output}", "workers=1"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return run(compose("evaluate", [*given, *overrides]))


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text())


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "evaluation.csv").open() as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def save(path: Path, label: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nib.save(nib.Nifti1Image(label, affine), path)


@pytest.fixture
def predicted(tmp_path: Path, block_cases: list[Case]) -> Path:
    """Return predictions of six cases, with three name formats: the labels, shifted by one column."""
    folder = tmp_path / "predicted"
    folder.mkdir()
    names = ("case_{:05d}", "prediction_{:05d}", "KiTS_{:05d}_0000")
    for number, case in enumerate(block_cases):
        label = np.roll(np.asarray(nib.load(case.label).dataobj), 1, axis=2)
        save(folder / f"{names[number % 3].format(number)}.nii.gz", label)
    return folder
