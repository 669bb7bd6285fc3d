"""Run `kitsseg.predict` on small volumes."""

import csv
import os
from pathlib import Path

import nibabel as nib
import numpy as np
from hydra import compose, initialize_config_dir

from kitsseg.config.validation import CONFIG_DIR
from kitsseg.predict import run
from tests import ROOT
from tests.conftest import AFFINE


def predict(path: Path | list[Path], source: Path, output: Path, *overrides: str) -> int:
    listed = f"[{','.join(map(str, path))}]" if isinstance(path, list) else path
    given = [f"checkpoint={listed}", f"input={source}", f"output={output}", "device=cpu"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return run(compose("predict", [*given, "precision=32-true", *overrides]))


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "volumes.csv").open() as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def values(path: Path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def ct(folder: Path, name: str, image: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nib.save(nib.Nifti1Image(image, affine), folder / name)
