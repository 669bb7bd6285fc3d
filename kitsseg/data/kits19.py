"""KiTS19's folder layout: which cases a folder holds."""

import re
from dataclasses import dataclass
from pathlib import Path

CASE_FOLDER = re.compile(r"case_\d{5}")
IMAGE_NAME, LABEL_NAME = "imaging.nii.gz", "segmentation.nii.gz"


@dataclass(frozen=True)
class Case:
    """One patient: an id such as ``case_00042`` and the two files that belong to it."""

    id: str
    image: Path
    label: Path


def list_cases(root: Path) -> list[Case]:
    """The cases below ``root`` that have both an image and a label, sorted by id."""
    if not root.is_dir():
        return []
    folders = sorted(f for f in root.iterdir() if CASE_FOLDER.fullmatch(f.name) and f.is_dir())
    cases = [Case(f.name, f / IMAGE_NAME, f / LABEL_NAME) for f in folders]
    return [c for c in cases if c.image.is_file() and c.label.is_file()]


class Kits19:
    """The data source ``data=kits19``: a folder in the layout of the official repository."""

    def find(self, root: str | Path) -> list[Case]:
        """The labelled cases below ``root`` (or its ``data/``, as in a checkout of the repository).

        Raises:
            ValueError: there are none; the message says how to get them.
        """
        root = Path(root).expanduser()
        for folder in (root, root / "data"):
            if cases := list_cases(folder):
                return cases
        lacks = "does not exist"
        if root.is_dir():
            lacks = f"holds no case_XXXXX folder with both {IMAGE_NAME} and {LABEL_NAME}"
        raise ValueError(
            f"data.root={root} {lacks}. KiTS19 comes with `git clone "
            "https://github.com/neheller/kits19` and, in there, `python3 -m "
            "starter_code.get_imaging`; then data.root=kits19. To try kitsseg without: data=phantom"
        )
