"""Regions that a part of a split lacks, and images that several parts have."""

import logging
from dataclasses import asdict

from kitsseg.data.case import shown
from kitsseg.data.labels import Labels
from kitsseg.data.slices.sampling import Rows
from kitsseg.data.split import Split
from kitsseg.data.store.store import Index, Store
from kitsseg.system import distributed

log = logging.getLogger("kitsseg")


def check_regions(
    index: Index, train: Rows, validation: Rows, labels: Labels, target_repeat: int
) -> None:
    """Warn about each region that no training or no validation slice contains.

    Raises `ValueError` if slices with the target region are to be repeated and there are none.
    """
    effects = (
        ("training", train, "networks cannot learn it"),
        ("validation", validation, "its validation Dice is undefined"),
    )
    for part, rows, effect in effects:
        for region in labels.regions:
            if index.pixels[rows][:, list(labels.ids(region))].any():
                continue
            if part == "training" and region == labels.target and target_repeat > 1:
                raise ValueError(
                    f"data.target_repeat={target_repeat}: no training slice contains {region}; set "
                    "data.target_repeat=1, or use other cases"
                )
            if distributed.rank() == 0:
                log.warning(f"no {part} case contains {region}: {effect}")


def check_copies(store: Store, split: Split) -> None:
    """Warn if several parts of the split have the same image file under different ids."""
    images = {case: sha256["image"] for case, sha256 in store.hashes.items()}
    first: dict[str, tuple[str, str]] = {}  # part and id by image
    copies = []
    for part, ids in asdict(split).items():
        for name in filter(images.__contains__, ids):
            other_part, other = first.setdefault(images[name], (part, name))
            if other_part != part:
                copies.append(f"{other} ({other_part}) and {name} ({part})")
    if copies and distributed.rank() == 0:
        log.warning(
            f"{shown(copies)} have the same image file: the scores are optimistically biased; leave out "
            "one of each by data.exclude"
        )
