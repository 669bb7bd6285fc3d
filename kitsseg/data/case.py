"""One case: its id, its files and the folder layout of KiTS19."""

import re
from dataclasses import dataclass
from pathlib import Path

from kitsseg.data.labels import BACKGROUND, KIDNEY, TUMOUR
from kitsseg.system.obstacles import is_file

IMAGE_NAME, LABEL_NAME = "imaging.nii.gz", "segmentation.nii.gz"
CLINICAL_NAME = "kits.json"
# The names of KiTS19, of its challenge and of nnU-Net, with or without nnU-Net's channel number.
CASE_NAME = re.compile(r"(?:case_|prediction_|KiTS[_-])(\d{5})(?:_0000)?", re.IGNORECASE)
SAME_CLASSES = (BACKGROUND, KIDNEY, TUMOUR)


@dataclass(frozen=True)
class Case:
    """One case: its id, such as ``case_00042``, its files, and how to read them."""

    id: str
    image: Path  # CT volume
    label: Path  # label volume
    classes: tuple[int, ...] = SAME_CLASSES  # class id of each value in the label file
    origin: str | None = None  # page that describes how to get the files; None: `kitsseg.download`
    offset_hu: int = 0  # added to every voxel of the image


def is_id(name: str) -> bool:
    """Return whether ``name`` is a case id such as ``case_00042``."""
    return re.fullmatch(r"case_\d{5}", name) is not None


def nifti_ending(name: str) -> str | None:
    """Return the ending of a NIfTI file's name as spelled, such as ``.NII.GZ``; None for others."""
    match = re.search(r"\.nii(\.gz)?\Z", name, re.IGNORECASE)
    return None if match is None else match[0]


def case_number(name: str) -> int | None:
    """Return 42 for ``case_00042``, ``prediction_00042`` or ``KiTS_00042_0000``, with or without ending.

    Any other name has no case number: digits elsewhere may be a date, a version or another patient's.
    """
    match = CASE_NAME.fullmatch(name.removesuffix(nifti_ending(name) or ""))
    return None if match is None else int(match[1])


def volume_in(folder: Path, name: str) -> Path:
    """Return the path of the ``.nii.gz`` file ``name`` in a case folder, or of its unzipped copy."""
    unzipped = folder / name.removesuffix(".gz")
    return unzipped if not is_file(folder / name) and is_file(unzipped) else folder / name


def case_folders(root: Path) -> list[Path]:
    """Return the case folders below ``root``, or below its ``data/`` or ``dataset/``, sorted by id.

    Unreadable folders and broken links are included, so that the caller can report them. Raises
    `ValueError` if a folder with an image is named like a case, but not as an id.
    """
    for folder in (f for f in (root, root / "data", root / "dataset") if f.is_dir()):
        entries = sorted(f for f in folder.iterdir() if not is_file(f))
        cases = [f for f in entries if is_id(f.name)]
        for other in entries:
            number = re.fullmatch(r"case[_-]?(\d+)", other.name, re.IGNORECASE)
            if number and not is_id(other.name) and is_file(volume_in(other, IMAGE_NAME)):
                rename = f"rename it, for example to case_{int(number[1]):05d}"
                raise ValueError(f"{other}: is not named like a case; {rename}")
        if cases:
            return cases
    return []
