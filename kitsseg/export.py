"""Export the network of a checkpoint as ONNX and torch.export files and compare their outputs.

``python -m kitsseg.export --help``
"""

from pathlib import Path

from omegaconf import DictConfig

from kitsseg.config import command_line


def run(cfg: DictConfig) -> None:
    """Load the checkpoint, write and compare the files, and print their paths.

    Raises:
        ValueError: the checkpoint cannot be used or exported, or a package is missing.
        OSError: the output cannot be written.
    """
    from kitsseg.inference import checkpoint, export_formats

    source, output = Path(cfg.checkpoint).expanduser(), Path(cfg.output).expanduser()
    loaded = checkpoint.load(source, cfg.trusted)
    output.mkdir(parents=True, exist_ok=True)
    writers = {"onnx": export_formats.export_onnx, "pt2": export_formats.export_program}
    for name in cfg.formats:
        path = output / f"{source.stem}.{name}"
        try:
            difference = writers[name](loaded, path)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        print(f"{path}: differs from {source.name} by {difference:.1g} of the largest logit")


def main() -> None:
    """Run the command."""
    command_line.hand_over("export", run, "run the same command again")


if __name__ == "__main__":
    main()
