"""Write a checkpoint's network as an ONNX and a torch.export file, each compared with the original.

``python -m kitsseg.export --help``
"""

from pathlib import Path

from omegaconf import DictConfig

from kitsseg.config import command_line


def run(cfg: DictConfig) -> None:
    """Load, export, compare, say what there is.

    Raises:
        ValueError: the checkpoint can't be used or exported, or a package is missing.
        OSError: the output can't be written.
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
        print(f"{path}: equal to {source.name} but for {difference:.1g} of the largest logit")


def main() -> None:
    """The command."""
    command_line.hand_over("export", run, "the same command begins anew")


if __name__ == "__main__":
    main()
