"""CSV logger that appends when a run is resumed."""

import csv
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter


class ContinuedCSVLogger(CSVLogger):
    """Append new rows to ``metrics.csv``, which Lightning's own logger overwrites."""

    @property
    def experiment(self) -> Any:
        """Return the writer, which is created on first access."""
        if self._experiment is None:
            self._experiment = _AppendingWriter(log_dir=self.log_dir)
        return self._experiment


class _AppendingWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Read the existing file, which the base class deletes here."""
        self.written: set[frozenset[tuple[str, str]]] = set()
        if self._fs.isfile(self.metrics_file_path):
            with self._fs.open(self.metrics_file_path, "r", newline="") as file:
                reader = csv.DictReader(file)
                self.metrics_keys = list(reader.fieldnames or ())
                self.written = {_row_key(row) for row in reader}

    def save(self) -> None:
        self.metrics = [row for row in self.metrics if _row_key(row) not in self.written]
        self.written |= {_row_key(row) for row in self.metrics}
        super().save()


def _row_key(row: dict[str, Any]) -> frozenset[tuple[str, str]]:
    """Return the non-empty cells of a row as text, independent of the column order."""
    return frozenset((name, str(value)) for name, value in row.items() if str(value))
