"""TensorBoard logger of a run."""

from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from kitsseg.reporting import formats
from kitsseg.reporting.run_record import Record
from kitsseg.tracking import run_content, tracking_file

TRACKER = "tensorboard"


class TensorBoardRun(TensorBoardLogger):
    """Log to ``folder/tensorboard``; checkpoints are not logged.

    Args:
        folder: folder of the run.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(save_dir=folder, name="tensorboard", version="", default_hp_metric=False)
        self.folder = Path(folder)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log the configuration."""
        tracking_file.update(self.folder, TRACKER, folder="tensorboard")
        super().log_hyperparams(params, *args, **kwargs)

    @rank_zero_only
    def log_run(self, record: Record, folder: Path) -> None:
        """Log the table of cases as text, and the example slices as images."""
        head, rows = run_content.case_table(record)
        cells = [[_cell(value) for value in row] for row in rows]
        self.experiment.add_text("cases", formats.markdown(head, cells))
        counts: dict[str, int] = {}
        for example in run_content.example_slices(folder, record.final["validation"]):
            step = counts[example.role] = counts.get(example.role, -1) + 1
            name = f"slices/{example.role}"
            self.experiment.add_image(name, run_content.overlay(example), step, dataformats="HWC")
            self.experiment.add_text(name, example.caption, step)

    @rank_zero_only
    def close(self, exit_code: int, reason: str, state: str) -> None:
        """Log how the run ended and close the file."""
        self.experiment.add_text("outcome", f"{state} ({exit_code}) {reason}".strip())
        self.finalize("failed" if exit_code else "success")


def log_sweep(folder: Path, files: list[Path]) -> None:
    """Log the Markdown tables of a sweep to ``folder/tensorboard``."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for path in files:
            if path.suffix == ".md":
                writer.add_text(path.stem, path.read_text(encoding="utf-8"))


def _cell(value: Any) -> str:
    """Return a table cell; an undefined value is a dash."""
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
