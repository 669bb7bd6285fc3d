"""Check all cases of a data set and write their slices into the store that training reads."""

from dataclasses import dataclass, field
from typing import Any

import cv2
from omegaconf import MISSING, DictConfig

from kitsseg.config import resolvers
from kitsseg.config.command_line import run_command
from kitsseg.config.components import Section, instantiate
from kitsseg.config.validation import Command, PathsConfig, plain
from kitsseg.system.files import replacing


@dataclass
class PrepareConfig:
    """Schema of ``conf/prepare.yaml``."""

    paths: PathsConfig = field(default_factory=PathsConfig)
    labels: dict[str, Any] = MISSING
    data: dict[str, Any] = MISSING
    model: dict[str, Any] | None = None
    shallow: list[str] | None = None


resolvers.register()
GIVEN = ("split", "augmentation", "seed", "labels")
COMMAND = Command(
    "prepare",
    PrepareConfig,
    {"labels": Section(), "data": Section(given=GIVEN), "model": Section(optional=True)},
)


def run(cfg: DictConfig) -> None:
    """Prepare missing cases, print a summary and write ``dataset.md`` and ``dataset.png``."""
    from kitsseg.data.slices.augment import Augmentation
    from kitsseg.data.split import Seeded
    from kitsseg.data.store import data_card

    labels = instantiate(cfg.labels)
    data = instantiate(cfg.data, split=Seeded(), augmentation=Augmentation([]), seed=0, labels=labels)
    network = None if cfg.model is None else plain(cfg.model)
    if network is not None:
        data.adapt(network)
    data.prepare_data()
    store = data.open_store()
    plan = "".join(f"{name}: {value}\n" for name, value in data.chosen.items())
    summary = f"{data_card.markdown(store, labels)}\n{plan}"
    print(summary)
    _, picture = cv2.imencode(".png", data_card.contact_sheet(store, labels))
    for name, content in (("dataset.md", summary.encode()), ("dataset.png", picture.tobytes())):
        with replacing(store.folder / name) as temporary:
            temporary.write_bytes(content)
        print(store.folder / name)


if __name__ == "__main__":
    run_command(COMMAND, run, "run the same command again to resume")
