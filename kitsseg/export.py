"""Export the network of a checkpoint as ONNX and torch.export files and compare their outputs.

``python -m kitsseg.export --help``
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig

from kitsseg.config.command_line import run_command
from kitsseg.config.validation import Command

FORMATS = ("onnx", "pt2")


@dataclass
class ExportConfig:
    """Schema of ``conf/export.yaml``."""

    checkpoint: str = MISSING
    output: str = MISSING
    formats: list[str] = MISSING
    trusted: list[str] = MISSING


def check(values: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """Return the problem with ``formats``, if there is one."""
    if values["formats"] and set(values["formats"]) <= set(FORMATS):
        return []
    return [f"formats={values['formats']}: must contain one or both of {', '.join(FORMATS)}"]


COMMAND = Command("export", ExportConfig, check=check)


def run(cfg: DictConfig) -> None:
    """Load the checkpoint, write and compare the files, and print their paths.

    Raises `ValueError` if the checkpoint cannot be used or exported, or a package is missing.
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


if __name__ == "__main__":
    run_command(COMMAND, run, "run the same command again")
