"""Check every case of a data set and write its slices into the store that training reads.

``python -m kitsseg.prepare --help``
"""

import sys

import hydra
from omegaconf import DictConfig

from kitsseg import cli, config
from kitsseg.components import instantiate


def run(cfg: DictConfig) -> None:
    """Prepare what is missing and say what there is."""
    from kitsseg.data.augment import Augmentation
    from kitsseg.data.split import Seeded

    data = instantiate(cfg.data, split=Seeded(), augmentation=Augmentation([]), seed=0)
    store = data.open_store()
    index = store.index
    print(
        f"{len(store.ids)} cases, {len(index.z)} slices: {index.foreground.sum()} with kidney or "
        f"tumour, {index.has_tumour.sum()} with tumour; in {store.folder}"
    )


@hydra.main(version_base="1.3", config_path=str(config.CONFIG_DIR), config_name="prepare")
def _job(cfg: DictConfig) -> None:
    try:
        run(cfg)
    except ValueError as error:
        sys.exit(f"kitsseg.prepare: {error}")


def main() -> None:
    """The command: refuse a wrong configuration, then hand over to Hydra."""
    cli.check_command_line("prepare", sys.argv[1:])
    _job()


if __name__ == "__main__":
    main()
