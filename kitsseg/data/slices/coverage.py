"""Regions that no training or no validation case contains."""

import logging

from kitsseg.data.labels import Labels
from kitsseg.data.slices.sampling import Rows
from kitsseg.data.store.store import Index
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
