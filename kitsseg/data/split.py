"""Split cases into training and validation cases."""

from dataclasses import dataclass

import numpy as np

# Validation cases of MLPerf's 3D U-Net benchmark (mlcommons/training, image_segmentation).
MLPERF_VALIDATION = (
    0, 3, 5, 6, 12, 24, 34, 41, 44, 49, 52, 56, 61, 65, 66, 70, 76, 78, 80, 84, 86, 87, 92, 111, 112,
    125, 128, 138, 157, 160, 161, 162, 169, 171, 176, 185, 187, 189, 198, 203, 206, 207,
)  # fmt: skip


@dataclass(frozen=True)
class Split:
    """Sorted, disjoint case ids."""

    train: list[str]
    validation: list[str]


def _divide(ids: list[str], validation: set[str]) -> Split:
    split = Split(sorted(set(ids) - validation), sorted(set(ids) & validation))
    if not split.train or not split.validation:
        raise ValueError(
            f"the split of {len(ids)} cases has {len(split.train)} training and {len(split.validation)} "
            "validation cases; both must be at least 1: use more cases or another split"
        )
    return split


class Seeded:
    """Random split with the fraction ``validation`` of validation cases; the paper uses 42 of 210."""

    def __init__(self, validation: float = 0.2, seed: int = 42) -> None:
        if not 0 < validation < 1:
            raise ValueError(f"validation={validation}: must be between 0 and 1")
        self.validation, self.seed = validation, seed

    def __call__(self, ids: list[str]) -> Split:
        count = max(1, round(self.validation * len(ids)))
        shuffled: list[str] = np.random.default_rng(self.seed).permutation(sorted(ids)).tolist()
        return _divide(ids, set(shuffled[:count]))


class MLPerf42:
    """The fixed split of MLPerf (168 and 42 cases), restricted to the given cases."""

    def __call__(self, ids: list[str]) -> Split:
        return _divide(ids, {f"case_{number:05d}" for number in MLPERF_VALIDATION})


class KFold:
    """Fold ``fold`` of a cross-validation: each case is a validation case in exactly one fold."""

    def __init__(self, folds: int = 5, fold: int = 0, seed: int = 42) -> None:
        if folds < 2:
            raise ValueError(f"folds={folds}: must be at least 2")
        if not 0 <= fold < folds:
            raise ValueError(f"fold={fold}: must be between 0 and {folds - 1} (folds={folds})")
        self.folds, self.fold, self.seed = folds, fold, seed

    def __call__(self, ids: list[str]) -> Split:
        shuffled: list[str] = np.random.default_rng(self.seed).permutation(sorted(ids)).tolist()
        return _divide(ids, set(shuffled[self.fold :: self.folds]))
