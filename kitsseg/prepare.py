"""Check all cases of a data set and write their slices into the store that training reads.

``python -m kitsseg.prepare --help``
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
from omegaconf import MISSING, DictConfig

from kitsseg.config.command_line import run_command
from kitsseg.config.components import Section, instantiate
from kitsseg.config.validation import Command, PathsConfig
from kitsseg.system.files import replacing

if TYPE_CHECKING:
    from kitsseg.data.store.store import Store


@dataclass
class PrepareConfig:
    """The root of ``conf/prepare.yaml``."""

    paths: PathsConfig = field(default_factory=PathsConfig)
    data: dict[str, Any] = MISSING


COMMAND = Command("prepare", PrepareConfig, {"data": Section(given=("split", "augmentation", "seed"))})


def run(cfg: DictConfig) -> None:
    """Prepare missing cases and print a summary of the store."""
    from kitsseg.data.slices.augment import Augmentation
    from kitsseg.data.split import Seeded
    from kitsseg.data.store import data_card

    data = instantiate(cfg.data, split=Seeded(), augmentation=Augmentation([]), seed=0)
    data.prepare_data()
    store = data.open_store()
    print(f"{data_card.markdown(store)}\n")
    for path in write_card(store):
        print(path)


def write_card(store: "Store") -> list[Path]:
    """Write ``dataset.md`` and ``dataset.png`` into the store and return their paths.

    Raises:
        ValueError: a file cannot be written.
    """
    from kitsseg.data.store import contact_sheet, data_card

    _, picture = cv2.imencode(".png", contact_sheet.contact_sheet(store))
    contents = {
        "dataset.md": f"{data_card.markdown(store)}\n".encode(),
        "dataset.png": picture.tobytes(),
    }
    for name, content in contents.items():
        try:
            with replacing(store.folder / name) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise ValueError(f"{store.folder / name}: {error.strerror or error}") from error
    return [store.folder / name for name in contents]


def main() -> None:
    """Run the command."""
    run_command(COMMAND, run, "run the same command again to resume")


if __name__ == "__main__":
    main()
