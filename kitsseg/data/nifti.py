"""One case read from NIfTI, checked, as arrays (slices, H, W) in KiTS19's orientation."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from kitsseg.data.kits19 import Case
from kitsseg.labels import CLASSES

# Slices run from head to foot, rows from front to back, columns to the patient's left.
ORIENTATION = ("I", "P", "L")
INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class Volume:
    """A case in memory.

    Attributes:
        image: ``[S, H, W]`` int16, HU.
        label: ``[S, H, W]`` uint8, class ids.
        spacing_mm: distance of slices, rows and columns.
    """

    image: np.ndarray
    label: np.ndarray
    spacing_mm: tuple[float, float, float]


def read_case(case: Case) -> Volume:
    """Image and label of a case.

    Raises:
        ValueError: one line that names the file, what is wrong and what helps.
    """
    image, affine = _load(case.image)
    label, label_affine = _load(case.label)
    if image.shape != label.shape:
        raise ValueError(
            f"{case.label}: has shape {label.shape}, its image {image.shape}; fetch both files again"
        )
    if not np.allclose(affine, label_affine, atol=1e-2):
        raise ValueError(
            f"{case.label}: its affine differs from the image's by up to "
            f"{np.abs(affine - label_affine).max():.3g} mm; fetch both files again"
        )
    spacing = nib.affines.voxel_sizes(affine)
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise ValueError(f"{case.image}: its spacing is {spacing} mm; it must be above 0")
    z, y, x = (float(mm) for mm in spacing)
    return Volume(_as_hu(image, case.image), _as_classes(label, case.label), (z, y, x))


def read_label(path: Path) -> np.ndarray:
    """A label volume alone: ``[S, H, W]`` uint8 class ids."""
    return _as_classes(_load(path)[0], path)


def _load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Array and affine, brought to `ORIENTATION`; integers stay integers (never ``get_fdata``)."""
    try:
        nifti = nib.load(path)
        array = np.asanyarray(nifti.dataobj)  # type: ignore[attr-defined]
    except (OSError, EOFError, ValueError, ImageFileError, nib.spatialimages.HeaderDataError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise ValueError(f"{path}: can't be read ({reason}); fetch it again") from e
    if array.ndim != 3:
        raise ValueError(f"{path}: has {array.ndim} dimensions; a CT volume has 3")
    affine = nifti.affine  # type: ignore[attr-defined]
    orientation = io_orientation(affine)
    if np.isnan(orientation).any():
        raise ValueError(f"{path}: its affine has a zero axis; correct its header")
    change = ornt_transform(orientation, axcodes2ornt(ORIENTATION))
    turned = nib.orientations.apply_orientation(array, change)
    return turned, affine @ inv_ornt_aff(change, array.shape)


def _as_hu(array: np.ndarray, path: Path) -> np.ndarray:
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{path}: holds {array.dtype} values; HU are integers or floats")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: holds NaN or infinite values; export it again")
        array = np.rint(array)
    if array.size == 0 or array.min() == array.max():
        raise ValueError(f"{path}: every voxel has the same value; export it again")
    return np.ascontiguousarray(np.clip(array, INT16.min, INT16.max), dtype=np.int16)


def _as_classes(array: np.ndarray, path: Path) -> np.ndarray:
    classes = np.ascontiguousarray(array, dtype=np.uint8)
    if (classes != array).any() or classes.max(initial=0) >= len(CLASSES):
        strange = sorted(set(np.unique(array).tolist()) - set(range(len(CLASSES))))[:5]
        raise ValueError(
            f"{path}: holds labels {strange}; KiTS19 has "
            + ", ".join(f"{i} {name}" for i, name in enumerate(CLASSES))
        )
    return classes
