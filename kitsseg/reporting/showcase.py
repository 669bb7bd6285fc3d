"""The best, the median and the worst validation case of a run, small enough to be looked at.

``showcase/best.npz`` and so on hold a case's slices as they are seen, its labels, what the network
made of them, and what its attention gates let through. Reports read these files and need no data.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOLDER = "showcase"
ROLES = ("best", "median", "worst")


@dataclass(frozen=True)
class Shown:
    """A case to look at.

    Attributes:
        role: ``best``, ``median`` or ``worst`` by tumour Dice.
        case: its id.
        z: ``[S]``, the numbers of the slices in the case.
        image: ``[S, H, W]`` uint8, the window's lower end 0 and its upper end 255.
        masks: class ids ``[S, H, W]`` by what they are: ``truth``, ``prediction`` and, of a run that
            was fine-tuned, ``before``.
        start: the place in ``z`` of the slice with most tumour.
        gates: of each attention gate, deepest first, the coefficients on that slice ``[H, W]``.
        grids: (h, w) on which each gate computed them.
    """

    role: str
    case: str
    z: np.ndarray
    image: np.ndarray
    masks: dict[str, np.ndarray]
    start: int
    gates: list[np.ndarray]
    grids: list[tuple[int, int]]


def read(folder: Path) -> list[Shown]:
    """The showcase of the run in ``folder``, best case first; empty if it has none.

    Raises:
        ValueError: a file is damaged or not one of ours.
    """
    paths = [folder / FOLDER / f"{role}.npz" for role in ROLES]
    return [_read(path) for path in paths if path.is_file()]


def _read(path: Path) -> Shown:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        gates = [arrays[name] for name in sorted(arrays) if name.startswith("gate_")]
        masks = {n.removeprefix("mask_"): a for n, a in arrays.items() if n.startswith("mask_")}
        shown = Shown(
            str(arrays["role"]), str(arrays["case"]), arrays["z"], arrays["image"], masks,
            int(arrays["start"]), gates, [(int(h), int(w)) for h, w in arrays["grids"]],
        )  # fmt: skip
        shapes = {shown.image.shape, *(mask.shape for mask in masks.values())}
        whole = {"truth", "prediction"} <= set(masks) and len(shapes) == 1 and shown.image.ndim == 3
        whole &= {gate.shape for gate in gates} <= {shown.image.shape[1:]} and len(gates) == len(
            shown.grids
        )
        if not whole or len(shown.z) != len(shown.image) or not 0 <= shown.start < len(shown.z):
            raise ValueError("its arrays don't belong together")
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: isn't a case to show ({error}); run the job again") from error
    return shown
