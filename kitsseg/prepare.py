"""Check every case of a data set and write its slices into the store that training reads.

``python -m kitsseg.prepare --help``
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import hydra
from omegaconf import DictConfig

from kitsseg import cli, config
from kitsseg.components import instantiate
from kitsseg.files import replacing

if TYPE_CHECKING:
    from kitsseg.data.store import Store


def run(cfg: DictConfig) -> None:
    """Prepare what is missing and say what there is."""
    from kitsseg.data import overview
    from kitsseg.data.augment import Augmentation
    from kitsseg.data.split import Seeded

    data = instantiate(cfg.data, split=Seeded(), augmentation=Augmentation([]), seed=0)
    store = data.open_store()
    print(f"{overview.markdown(store)}\n")
    for path in write_card(store):
        print(path)


def write_card(store: "Store") -> list[Path]:
    """The store's overview as a table and as a picture, each written whole or not at all.

    Raises:
        ValueError: they can't be written.
    """
    from kitsseg.data import contactsheet, overview

    _, picture = cv2.imencode(".png", contactsheet.contact_sheet(store))
    contents = {"dataset.md": f"{overview.markdown(store)}\n".encode(), "dataset.png": picture.tobytes()}
    for name, content in contents.items():
        try:
            with replacing(store.folder / name) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise ValueError(f"{store.folder / name}: {error.strerror or error}") from error
    return [store.folder / name for name in contents]


@hydra.main(version_base="1.3", config_path=str(config.CONFIG_DIR), config_name="prepare")
def _job(cfg: DictConfig) -> None:
    try:
        run(cfg)
    except ValueError as error:
        lines = str(error).splitlines()
        sys.exit("\n".join(f"kitsseg.prepare: {line}" for line in lines))
    except KeyboardInterrupt:
        sys.exit("kitsseg.prepare: interrupted; the same command goes on from there")


def main() -> None:
    """The command: refuse a wrong configuration, then hand over to Hydra."""
    cli.check_command_line("prepare", sys.argv[1:])
    _job()


if __name__ == "__main__":
    main()
