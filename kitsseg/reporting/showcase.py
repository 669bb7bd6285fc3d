"""Read the example cases of a run: its best, median and worst validation case.

``showcase/best.npz``, ``median.npz`` and ``worst.npz`` store image slices, labels, predictions and
attention coefficients. Reports therefore need no access to the data set.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = "showcase"
ROLES = ("best", "median", "worst")


@dataclass(frozen=True)
class ExampleCase:
    """One example case.

    Attributes:
        role: one of `ROLES`, by Dice of the target region.
        z: ``[S]``, slice indices within the volume.
        image: ``[S, H, W]`` uint8; the network's intensity window maps to 0 … 255.
        masks: class ids ``[S, H, W]``: ``truth``, ``prediction`` and, after fine-tuning, ``before``.
        start: index into ``z`` of the slice with the largest area of the target region.
        gates: attention coefficients ``[H, W]`` of each gate on that slice, deepest gate first.
        grids: (h, w) grid on which each gate computed them.
    """

    role: str
    case: str
    z: npt.NDArray[np.int64]
    image: npt.NDArray[np.uint8]
    masks: dict[str, npt.NDArray[np.uint8]]
    start: int
    gates: list[npt.NDArray[np.float32]]
    grids: list[tuple[int, int]]


def read(folder: Path) -> list[ExampleCase]:
    """Return the example cases of the run in ``folder``, best first; empty if it has none.

    Raises:
        ValueError: a file is damaged or has another format.
    """
    paths = [folder / FOLDER / f"{role}.npz" for role in ROLES]
    return [_read_case(path) for path in paths if path.is_file()]


def _read_case(path: Path) -> ExampleCase:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        gates = [arrays[name] for name in sorted(arrays) if name.startswith("gate_")]
        masks = {n.removeprefix("mask_"): a for n, a in arrays.items() if n.startswith("mask_")}
        example = ExampleCase(
            str(arrays["role"]), str(arrays["case"]), arrays["z"], arrays["image"], masks,
            int(arrays["start"]), gates, [(int(h), int(w)) for h, w in arrays["grids"]],
        )  # fmt: skip
        slices, height, width = example.image.shape
        consistent = (
            {"truth", "prediction"} <= set(masks)
            and {mask.shape for mask in masks.values()} == {example.image.shape}
            and [gate.shape for gate in gates] == [(height, width)] * len(example.grids)
            and 0 <= example.start < len(example.z) == slices
        )
        if not consistent:
            raise ValueError("array shapes do not match")
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a showcase file ({error}); run the job again") from error
    return example
