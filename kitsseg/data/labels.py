"""Classes of a data set, and the regions that are scored."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

AIR_HU = -1024
BACKGROUND = 0  # class id
MAX_CLASSES = 64
MAX_VALUE = 65535  # in label files
# The colour-blind safe palette of Okabe and Ito, without black.
PALETTE = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")


@dataclass(frozen=True)
class Labels:
    """What label files contain, and what is scored. Arguments may be lists and dicts.

    Args:
        classes: name of each class by class id; the first one is the background.
        regions: names of the classes of each scored region, in the order of tables.
        target: the region of lesions, fine-tuning, oversampling and searches.
        table: regions in Table 1; None for all.
        values: class name of each value in label files; None if the values are class ids. Other values
            are refused.
        colours: colours ``#rrggbb`` of classes, instead of those of `PALETTE`.
        codes: SNOMED CT code and meaning of classes, for DICOM SEG.

    Raises:
        ValueError: a name is missing, repeated or unknown, or a number is out of range.
    """

    classes: Sequence[str]
    regions: Mapping[str, Sequence[str]]
    target: str
    table: Sequence[str] | None = None
    values: Mapping[int, str] | None = None
    colours: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= MAX_CLASSES or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes={list(self.classes)}: must be 2 to {MAX_CLASSES} different names")
        for name in (*self.classes, *self.regions):
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", str(name)):
                raise ValueError(
                    f"{name}: names of classes and regions start with a letter and consist of letters, "
                    "digits and _"
                )
        if not self.regions:
            raise ValueError("regions={}: must contain at least one region")
        for region, names in self.regions.items():
            if not names:
                raise ValueError(f"regions.{region}=[]: must contain at least one class")
            self._check_known(f"regions.{region}", names, self.classes[1:])
        self._check_known("target", [self.target], self.regions)
        self._check_known("table", self.table_regions, self.regions)
        self._check_known("values", (self.values or {}).values(), self.classes)
        self._check_known("colours", self.colours, self.classes[1:])
        self._check_known("codes", self.codes, self.classes[1:])
        for name, colour in self.colours.items():
            if not re.fullmatch("#[0-9a-fA-F]{6}", str(colour)):
                raise ValueError(f"colours.{name}={colour}: must be written like #56b4e9")
        if self.values is not None and set(self.values.values()) != set(self.classes):
            raise ValueError(f"values={dict(self.values)}: must name every class")
        if not all(0 <= int(value) <= MAX_VALUE for value in self.stored):
            raise ValueError(f"values={list(self.stored)}: must be between 0 and {MAX_VALUE}")

    def _check_known(self, key: str, names: Any, options: Any) -> None:
        for name in names:
            if name not in options:
                raise ValueError(f"{key}: {name} must be one of {', '.join(options)}")

    @property
    def table_regions(self) -> tuple[str, ...]:
        """Names of the regions in Table 1."""
        return tuple(self.regions if self.table is None else self.table)

    @property
    def stored(self) -> dict[int, int]:
        """Class id of each value in label files."""
        if self.values is None:
            return {number: number for number in range(len(self.classes))}
        return {int(value): self.classes.index(name) for value, name in self.values.items()}

    @property
    def other_classes(self) -> tuple[str, ...]:
        """Names of the classes that are neither background nor in the target region."""
        return tuple(name for name in self.classes[1:] if name not in self.regions[self.target])

    def ids(self, region: str) -> tuple[int, ...]:
        """Return the class ids of a region."""
        return tuple(self.classes.index(name) for name in self.regions[region])

    def mask(self, label: npt.NDArray[np.uint8], region: str) -> npt.NDArray[np.bool_]:
        """Return where ``label``, an array of class ids, belongs to a region."""
        mask = np.zeros(np.shape(label), bool)
        for class_id in self.ids(region):  # indexing a table would need 8 bytes per voxel
            mask |= label == class_id
        return mask

    def colour(self, class_id: int) -> str:
        """Return the colour of a class as ``#rrggbb``."""
        return self.colours.get(self.classes[class_id], PALETTE[(class_id - 1) % len(PALETTE)])

    @property
    def description(self) -> str:
        """Class ids and names, such as ``0 background, 1 kidney, 2 tumour``."""
        return ", ".join(f"{number} {name}" for number, name in enumerate(self.classes))

    def as_dict(self) -> dict[str, Any]:
        """Return the arguments as plain values, for records and checkpoints."""
        return {
            "classes": list(self.classes),
            "regions": {region: list(names) for region, names in self.regions.items()},
            "target": self.target,
            "table": None if self.table is None else list(self.table),
            "values": None if self.values is None else {int(v): n for v, n in self.values.items()},
            "colours": dict(self.colours),
            "codes": {name: list(code) for name, code in self.codes.items()},
        }


# In the official script (neheller/kits19, ``starter_code/evaluation.py``), *kidney* includes the tumour.
# Many papers evaluate label 1 alone as kidney; ``kidney_label`` is that region.
KITS19 = Labels(
    classes=("background", "kidney", "tumour"),
    regions={"kidney": ("kidney", "tumour"), "tumour": ("tumour",), "kidney_label": ("kidney",)},
    target="tumour",
    table=("kidney", "tumour"),
    codes={"kidney": ("64033007", "Kidney"), "tumour": ("108369006", "Neoplasm")},
)
