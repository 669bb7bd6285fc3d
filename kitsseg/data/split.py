"""Which cases train and which validate. Always by case: slices of a patient never part."""

from dataclasses import dataclass

import numpy as np

# The evaluation cases of MLPerf's 3D U-Net benchmark (mlcommons/training, image_segmentation).
MLPERF_VALIDATION = (
    0, 3, 5, 6, 12, 24, 34, 41, 44, 49, 52, 56, 61, 65, 66, 70, 76, 78, 80, 84, 86, 87, 92, 111, 112,
    125, 128, 138, 157, 160, 161, 162, 169, 171, 176, 185, 187, 189, 198, 203, 206, 207,
)  # fmt: skip


@dataclass(frozen=True)
class Split:
    """Case ids, sorted, without overlap."""

    train: list[str]
    validation: list[str]


def _divide(ids: list[str], validation: set[str]) -> Split:
    split = Split(sorted(set(ids) - validation), sorted(set(ids) & validation))
    if not split.train or not split.validation:
        raise ValueError(
            f"the split of {len(ids)} cases leaves {len(split.train)} to train and "
            f"{len(split.validation)} to validate; both must be at least 1: use more cases or "
            "another split"
        )
    return split


def _shuffled(ids: list[str], seed: int) -> list[str]:
    return [sorted(ids)[i] for i in np.random.default_rng(seed).permutation(len(ids))]


class Seeded:
    """A random share ``validation`` of the cases validates (paper section 3: 42 of 210)."""

    def __init__(self, validation: float = 0.2, seed: int = 42) -> None:
        if not 0 < validation < 1:
            raise ValueError(f"validation={validation}: must be in (0, 1): a share of the cases")
        self.validation, self.seed = validation, seed

    def __call__(self, ids: list[str]) -> Split:
        count = max(1, round(self.validation * len(ids)))
        return _divide(ids, set(_shuffled(ids, self.seed)[:count]))


class MLPerf42:
    """MLPerf's fixed 168/42 split, or the part of it for which there are cases."""

    def __call__(self, ids: list[str]) -> Split:
        return _divide(ids, {f"case_{number:05d}" for number in MLPERF_VALIDATION})


class KFold:
    """Fold ``fold`` of ``folds`` validates; over all folds each case does so once."""

    def __init__(self, folds: int = 5, fold: int = 0, seed: int = 42) -> None:
        if folds < 2:
            raise ValueError(f"folds={folds}: must be at least 2")
        if not 0 <= fold < folds:
            raise ValueError(f"fold={fold}: must lie in 0 .. {folds - 1} (folds={folds})")
        self.folds, self.fold, self.seed = folds, fold, seed

    def __call__(self, ids: list[str]) -> Split:
        return _divide(ids, set(_shuffled(ids, self.seed)[self.fold :: self.folds]))
