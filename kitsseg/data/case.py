"""One case: its id, its files and the folder layout of KiTS19."""

import re
from dataclasses import dataclass
from pathlib import Path

from kitsseg.data.labels import BACKGROUND, KIDNEY, TUMOUR
from kitsseg.system.obstacles import is_file

IMAGE_NAME, LABEL_NAME = "imaging.nii.gz", "segmentation.nii.gz"
CLINICAL_NAME = "kits.json"
CASE_FOLDER = re.compile(r"case_\d{5}")
# Matches case_00042, prediction_00042, KiTS_00042 and 42, with or without nnU-Net's channel number.
CASE_FILE = re.compile(r"(?:.*?\D)?(\d{1,5})(?:_0000)?\.nii(?:\.gz)?")
SAME_CLASSES = (BACKGROUND, KIDNEY, TUMOUR)


@dataclass(frozen=True)
class Case:
    """One case: an id such as ``case_00042``, an image file and a label file.

    Args:
        id: case id.
        image: path of the CT volume.
        label: path of the label volume.
        classes: ``classes[v]`` is the class id of the value ``v`` in the label file.
        origin: page that describes how to get the files; None if `kitsseg.download` fetches them.
    """

    id: str
    image: Path
    label: Path
    classes: tuple[int, ...] = SAME_CLASSES
    origin: str | None = None


def is_id(name: str) -> bool:
    """Return whether ``name`` is a case id such as ``case_00042``."""
    return CASE_FOLDER.fullmatch(name) is not None


def case_folders(root: Path) -> list[Path]:
    """Return the case folders below ``root``, or below its ``data/`` or ``dataset/``, sorted by id.

    Unreadable folders and broken links are included, so that the caller can report them.
    """
    for folder in (root, root / "data", root / "dataset"):
        if folder.is_dir():
            cases = [f for f in folder.iterdir() if CASE_FOLDER.fullmatch(f.name) and not is_file(f)]
            if cases:
                return sorted(cases)
    return []
