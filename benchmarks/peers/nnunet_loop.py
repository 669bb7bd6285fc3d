"""Train nnU-Net v2's 2d configuration for a given time. Run by benchmarks/quality.py.

    python nnunet_loop.py ROOT SPLIT SECONDS EVERY

ROOT is a folder in KiTS19's layout. SPLIT is a JSON file with case ids under ``train`` and
``validation``. The variables nnUNet_raw, nnUNet_preprocessed and nnUNet_results must be set.

Each validation prints one line of JSON: the seconds of training so far, and the official kidney and
tumour Dice of each case, in the order of case ids. Planning, preprocessing and validation do not
count. Everything is nnU-Net's own, with two exceptions: batches of 16, because the planned ones allow
few steps in the time; and a learning rate that falls over the given time instead of over 1000 epochs.
"""

import json
import os
import random
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK
import torch
from nnunet_prepare import DATASET, write_dataset
from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

BATCH = 16
PROCESSES = 2


def main(root: Path, split: dict[str, list[str]], seconds: float, every: float) -> None:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    write_dataset([root / case for case in (*split["train"], *split["validation"])], PROCESSES)
    preprocess([19], configurations=("2d",), num_processes=(PROCESSES,))
    folder = Path(os.environ["nnUNet_preprocessed"]) / DATASET  # noqa: SIM112
    splits = [{"train": split["train"], "val": split["validation"]}]
    (folder / "splits_final.json").write_text(json.dumps(splits))
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    plans["configurations"]["2d"]["batch_size"] = BATCH
    about = json.loads((folder / "dataset.json").read_text())
    trainer = nnUNetTrainer({**plans, "continue_training": False}, "2d", 0, about, torch.device("cpu"))
    trainer.on_train_start()
    torch.set_num_threads(os.cpu_count() or 1)  # as nnU-Net's command does; preprocessing sets it to 1
    spent, due, steps = 0.0, every, 0
    while spent < seconds:
        start = time.perf_counter()
        trainer.network.train()
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.initial_lr * (1 - min(1, spent / seconds)) ** 0.9
        trainer.train_step(next(trainer.dataloader_train))
        spent, steps = spent + time.perf_counter() - start, steps + 1
        if spent >= due or spent >= seconds:
            scores = evaluate(trainer, root, sorted(split["validation"]))
            found = {"seconds": spent, "scores": scores, "steps": steps}
            print(json.dumps({**found, "version": version("nnunetv2")}), flush=True)
            due += every


@torch.inference_mode()
def evaluate(trainer: Any, root: Path, cases: list[str]) -> list[list[float]]:
    """Return each case's Dice of kidney (labels above 0) and tumour (above 1) on its own grid."""
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(use_mirroring=False, device=trainer.device, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network, trainer.plans_manager, trainer.configuration_manager, None,
        trainer.dataset_json, type(trainer).__name__, None,
    )  # fmt: skip
    dataset = trainer.dataset_class(trainer.preprocessed_dataset_folder, cases)
    scores = []
    for case in cases:
        data, _, _, properties = dataset.load_case(case)
        logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(data[:]))
        found = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits.cpu(), trainer.plans_manager, trainer.configuration_manager,
            trainer.label_manager, properties,
        )  # fmt: skip
        truth = SimpleITK.GetArrayFromImage(
            SimpleITK.ReadImage(str(root / case / "segmentation.nii.gz"))
        )
        scores.append([dice(found > above, truth > above) for above in (0, 1)])
    trainer.set_deep_supervision_enabled(True)
    return scores


def dice(found: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """Return the Dice of two masks, NaN if both are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / total if total else float("nan")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]).resolve(),
        json.loads(Path(sys.argv[2]).read_text()),
        float(sys.argv[3]),
        float(sys.argv[4]),
    )
