"""The regions of a table: its columns, their explanation, and which records fit into one table."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

from kitsseg.data.labels import KITS19, Labels
from kitsseg.reporting.formats import words
from kitsseg.reporting.run_record import Record

PARTS = {"train": "train", "validation": "val"}  # parts of the split and their short names


class Column(NamedTuple):
    """A column of Table 1: the mean Dice of a region over the cases of a part of the split."""

    part: str
    region: str
    head: str
    metric: str  # the column's name in trackers, such as ``val_tumor``


def columns(labels: Labels) -> list[Column]:
    """Return the columns of Table 1; those of KiTS19 are spelled as in the paper."""
    found = []
    for part, region in product(PARTS, labels.table_regions):
        name, head = region, words(region)
        if are_kits19(labels):
            name = region.replace("tumour", "tumor")
            head = name.capitalize()
        short = PARTS[part]
        found.append(Column(part, region, f"{short.capitalize()} {head}", f"{short}_{name}"))
    return found


def target_first(labels: Labels) -> list[str]:
    """Return the regions of Table 1, with the target first, since models differ most there."""
    return sorted(labels.table_regions, key=lambda region: region != labels.target)


def are_kits19(labels: Labels) -> bool:
    """Return whether Table 1 has the classes and regions of the paper."""
    return _scored(labels) == _scored(KITS19) and labels.table_regions == KITS19.table_regions


def explain(labels: Labels) -> str:
    """Return the regions of Table 1 with their classes, such as ``regions (masses: tumour or cyst)``."""
    if are_kits19(labels):
        return "official regions (kidney: label > 0, tumour: label > 1)"
    return f"regions ({_define(labels, labels.table_regions)})"


def check_equal(records: Sequence[Record]) -> None:
    """Raise ValueError if records differ in their classes or regions."""
    for other in records[1:]:
        if _scored(other.label_set) != _scored(records[0].label_set):
            both = " and ".join(
                f"{record.name}, {record.model} (classes {', '.join(record.label_set.classes)}; "
                f"regions {_define(record.label_set, record.label_set.regions)})"
                for record in (records[0], other)
            )
            raise ValueError(f"labels differ between {both}; report them separately")


def _scored(labels: Labels) -> tuple[list[str], dict[str, list[int]]]:
    """Return the classes, and the class ids of each region in ascending order."""
    return list(labels.classes), {region: sorted(labels.ids(region)) for region in labels.regions}


def _define(labels: Labels, regions: Iterable[str]) -> str:
    """Return regions with their classes, such as ``masses: tumour or cyst; tumour``."""
    texts = []
    for region in regions:
        *others, last = map(words, labels.regions[region])
        classes = f"{', '.join(others)} or {last}" if others else last
        texts.append(words(region) + ("" if classes == words(region) else f": {classes}"))
    return "; ".join(texts)
