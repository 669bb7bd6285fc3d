"""Measure nnU-Net's 2d preprocessing of cases in KiTS19's layout. Run by benchmarks/prepare.py.

    python nnunet_prepare.py ROOT CASES PROCESSES

Prints the seconds as JSON. The variables nnUNet_raw, nnUNet_preprocessed and nnUNet_results must be
set.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess,
)

DATASET = "Dataset019_Kits"


def write_dataset(folders: list[Path], processes: int) -> None:
    """Write the cases as a raw data set of nnU-Net, and plan it."""
    target = Path(os.environ["nnUNet_raw"]) / DATASET  # noqa: SIM112
    for folder in ("imagesTr", "labelsTr"):
        (target / folder).mkdir(parents=True)
    for case in folders:
        (target / "imagesTr" / f"{case.name}_0000.nii.gz").symlink_to(case / "imaging.nii.gz")
        (target / "labelsTr" / f"{case.name}.nii.gz").symlink_to(case / "segmentation.nii.gz")
    about = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "kidney": 1, "tumour": 2},
        "numTraining": len(folders),
        "file_ending": ".nii.gz",
    }
    (target / "dataset.json").write_text(json.dumps(about))
    extract_fingerprints([19], num_processes=processes, check_dataset_integrity=False)
    plan_experiments([19])


def main(root: Path, cases: int, processes: int) -> None:
    write_dataset(sorted(root.glob("case_*"))[:cases], processes)
    start = time.perf_counter()
    preprocess([19], configurations=("2d",), num_processes=(processes,))
    print(json.dumps({"seconds": time.perf_counter() - start, "version": version("nnunetv2")}))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))
