"""Write a checkpoint's network as an ONNX and a torch.export file, each compared with the original.

``python -m kitsseg.export --help``
"""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from kitsseg import cli, config


def run(cfg: DictConfig) -> None:
    """Load, export, compare, say what there is.

    Raises:
        ValueError: the checkpoint can't be used or exported, or a package is missing.
        OSError: the output can't be written.
    """
    from kitsseg import checkpoint, exchange

    source, output = Path(cfg.checkpoint).expanduser(), Path(cfg.output).expanduser()
    loaded = checkpoint.load(source, cfg.trusted)
    output.mkdir(parents=True, exist_ok=True)
    writers = {"onnx": exchange.export_onnx, "pt2": exchange.export_program}
    for name in cfg.formats:
        path = output / f"{source.stem}.{name}"
        try:
            difference = writers[name](loaded, path)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        print(f"{path}: equal to {source.name} but for {difference:.1g} of the largest logit")


@hydra.main(version_base="1.3", config_path=str(config.CONFIG_DIR), config_name="export")
def _job(cfg: DictConfig) -> None:
    try:
        run(cfg)
    except ValueError as error:
        sys.exit(f"kitsseg.export: {error}")
    except OSError as error:
        where = cfg.output if error.filename is None else error.filename
        sys.exit(f"kitsseg.export: {where}: {error.strerror or error}; name another output")
    except KeyboardInterrupt:
        sys.exit(130)


def main() -> None:
    """The command: refuse a wrong configuration, then hand over to Hydra."""
    cli.check_command_line("export", sys.argv[1:])
    _job()


if __name__ == "__main__":
    main()
