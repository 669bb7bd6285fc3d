"""One case: its id, its files and the folder layout of KiTS19."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kitsseg.data.labels import KITS19
from kitsseg.system.obstacles import is_file

IMAGE_NAME, LABEL_NAME = "imaging.nii.gz", "segmentation.nii.gz"
CLINICAL_NAME = "kits.json"
# The names of KiTS19, of its challenge and of nnU-Net, with or without nnU-Net's channel number.
CASE_NAME = re.compile(r"(?:case_|prediction_|KiTS[_-])(\d{5})(?:_0000)?", re.IGNORECASE)
MAX_SHOWN = 3  # files or cases in a message
MAX_ID_BYTES = 200  # file names have at most 255; results add endings
FETCH, EXPORT = "fetch it again", "copy or export it again"  # remedies for KiTS19 and for other files
SPLIT, TEST = "split", "test"  # column and value of cases that are never trained on


@dataclass(frozen=True)
class Case:
    """One case: its id, such as ``case_00042``, its files, and how to read them."""

    id: str  # safe as a file name, see `check_ids`
    image: Path  # CT volume
    label: Path | None  # label volume; None for a test case without one
    stored: Mapping[int, int] = field(default_factory=lambda: KITS19.stored)  # class id of each value
    origin: str | None = None  # where the files come from; None: `kitsseg.download` provides them
    offset_hu: int = 0  # added to every voxel of the image
    about: Mapping[str, str] = field(default_factory=dict)  # patient, strata, split

    @property
    def truth(self) -> Path:
        """The label volume of a case that has one."""
        assert self.label is not None, self.id
        return self.label

    @property
    def remedy(self) -> str:
        """What to do if a file is damaged."""
        return FETCH if self.origin is None else EXPORT

    @property
    def is_test(self) -> bool:
        """Whether the case is never trained on: it has no label, or its split is ``test``."""
        return self.label is None or self.about.get(SPLIT) == TEST


def shown(items: Sequence[object]) -> str:
    """Return the first items as text, and the number of the others."""
    others = len(items) - MAX_SHOWN
    return ", ".join(map(str, items[:MAX_SHOWN])) + (f" and {others} more" if others > 0 else "")


def name_key(name: str) -> str:
    """Return a key that is equal for names that some file systems treat as the same."""
    return unicodedata.normalize("NFC", name.casefold())


def check_ids(ids: Iterable[str], where: Path) -> None:
    """Raise `ValueError` unless the case ids that ``where`` lists are safe and different file names."""
    known: dict[str, str] = {}
    for name in ids:
        safe = name.isprintable() and name[:1] not in ("", ".") and not re.search(r"[/\\]", name)
        if not safe or len(name.encode()) > MAX_ID_BYTES:
            rule = f"1 to {MAX_ID_BYTES} printable bytes without / and \\, and no dot in front"
            raise ValueError(
                f"{where}: case id {name!r}: must be a file name of {rule}; rename the case"
            )
        if (other := known.get(name_key(name))) is not None:
            problem = "is listed twice" if other == name else f"differs from {other!r} in case only"
            raise ValueError(f"{where}: case id {name!r}: {problem}; rename one of the cases")
        known[name_key(name)] = name


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
    `ValueError` if the name of a folder with an image resembles an id but is none, such as ``case_42``.
    """
    for folder in (f for f in (root, root / "data", root / "dataset") if f.is_dir()):
        entries = sorted(f for f in folder.iterdir() if not is_file(f))
        cases = [f for f in entries if is_id(f.name)]
        misnamed = []
        for other in entries:
            number = re.fullmatch(r"case[_-]?(\d+)", other.name, re.IGNORECASE)
            if number and not is_id(other.name) and is_file(volume_in(other, IMAGE_NAME)):
                rename = f"rename it, for example to case_{int(number[1]):05d}"
                if len(number[1]) > 5:
                    rename = "ids have five digits; rename it, or list the cases in a table (data=table)"
                misnamed.append(f"{other}: is not a case id; {rename}")
        if misnamed:
            raise ValueError("\n".join(misnamed))
        if cases:
            return cases
    return []
