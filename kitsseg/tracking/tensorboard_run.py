"""TensorBoard: the same curves, figures, cases and slices; it keeps no weights."""

from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from kitsseg.reporting import formats
from kitsseg.reporting.run_record import Record
from kitsseg.tracking import logged_content, run_ids

TRACKER = "tensorboard"


class TensorBoardRun(TensorBoardLogger):
    """Lightning's logger; its files lie in ``folder/tensorboard``.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(save_dir=folder, name="tensorboard", version="", default_hp_metric=False)
        self.folder = Path(folder)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        run_ids.keep(self.folder, TRACKER, folder="tensorboard")
        super().log_hyperparams(params, *args, **kwargs)

    @rank_zero_only
    def log_run(self, record: Record, folder: Path) -> None:
        """The table of its cases as text, and slices tinted with truth and prediction."""
        head, rows = logged_content.cases(record)
        self.experiment.add_text(
            "cases", formats.markdown(head, [[text(v) for v in row] for row in rows])
        )
        numbers: dict[str, int] = {}
        for picture in logged_content.pictures(folder, record.final["validation"]):
            step = numbers[picture.role] = numbers.get(picture.role, -1) + 1
            image = logged_content.side_by_side(picture)
            self.experiment.add_image(f"slices/{picture.role}", image, step, dataformats="HWC")
            self.experiment.add_text(f"slices/{picture.role}", picture.caption, step)

    @rank_zero_only
    def close(self, exit_code: int, reason: str, state: str) -> None:
        """End the run, and say how it ended."""
        self.experiment.add_text("outcome", f"{state} ({exit_code}) {reason}".strip())
        self.finalize("failed" if exit_code else "success")


def text(value: Any) -> str:
    """A cell of a table: a dash for a figure that doesn't exist."""
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def log_sweep(folder: Path, files: list[Path]) -> None:
    """Table 1 as text in ``folder/tensorboard``: beside the runs for ``--logdir`` of the sweep."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for path in files:
            if path.suffix == ".md":
                writer.add_text(path.stem, path.read_text(encoding="utf-8"))
