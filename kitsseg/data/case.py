"""One patient: an id and the files that belong to it."""

import re
from dataclasses import dataclass
from pathlib import Path

from kitsseg.data.labels import BACKGROUND, KIDNEY, TUMOUR

CASE_FOLDER = re.compile(r"case_\d{5}")
SAME_CLASSES = (BACKGROUND, KIDNEY, TUMOUR)


@dataclass(frozen=True)
class Case:
    """One patient: an id such as ``case_00042`` and the two files that belong to it.

    ``classes[stored]`` is the class id that a number in the label file means; ``origin`` the page that
    says how to get a file that is missing, or None if `kitsseg.download` fetches it.
    """

    id: str
    image: Path
    label: Path
    classes: tuple[int, ...] = SAME_CLASSES
    origin: str | None = None


def is_id(name: str) -> bool:
    """Whether ``name`` is a case's, such as ``case_00042``."""
    return CASE_FOLDER.fullmatch(name) is not None


# case_00042, prediction_00042, KiTS_00042, 42, with nnU-Net's channel number or without.
CASE_FILE = re.compile(r"(?:.*?\D)?(\d{1,5})(?:_0000)?\.nii(?:\.gz)?")
