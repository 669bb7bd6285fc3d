"""TensorBoard logger of a run."""

import math
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

from kitsseg.reporting import formats
from kitsseg.reporting.run_record import Record
from kitsseg.system.optional_packages import require
from kitsseg.tracking import run_content, tracking_file

require("tensorboard", "tensorboard", "logger=tensorboard")  # when the configuration is checked


class TensorBoardRun(TensorBoardLogger):
    """Log to ``tensorboard/`` in the ``folder`` of the run; checkpoints are not logged."""

    def __init__(self, folder: str) -> None:
        super().__init__(save_dir=folder, name="tensorboard", version="", default_hp_metric=False)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log the configuration."""
        tracking_file.update(Path(self.save_dir), "tensorboard", folder="tensorboard")
        super().log_hyperparams(params, *args, **kwargs)

    def log_run(self, record: Record, folder: Path) -> None:
        """Log the table of cases as text, and the example slices as images."""
        head, rows = run_content.case_table(record)
        for row in rows:
            row[2:] = [formats.number(math.nan if value is None else value) for value in row[2:]]
        self.experiment.add_text("cases", formats.markdown(head, rows))
        for example in run_content.example_slices(folder, record):
            name, picture = f"slices/{example.role}", run_content.overlay(example, record.label_set)
            self.experiment.add_image(name, picture, example.number, dataformats="HWC")
            self.experiment.add_text(name, example.caption, example.number)

    def close(self, exit_code: int, reason: str, state: str) -> None:
        """Log how the run ended and close the file."""
        self.experiment.add_text("outcome", f"{state} ({exit_code}) {reason}".strip())
        self.finalize("failed" if exit_code else "success")


def log_sweep(folder: Path, job_values: dict[str, Any], files: list[Path]) -> None:
    """Log the Markdown tables of a sweep to ``folder/tensorboard``."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for path in files:
            if path.suffix == ".md":
                writer.add_text(path.stem, path.read_text(encoding="utf-8"))
