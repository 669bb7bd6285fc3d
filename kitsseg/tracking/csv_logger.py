"""Curves as CSV, to which a run that goes on adds."""

import csv
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter


class ContinuedCSVLogger(CSVLogger):
    """Lightning's, which would delete the rows of an earlier attempt.

    A row that the earlier attempt has written already isn't written again.
    """

    @property
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = _Writer(log_dir=self.log_dir)
        return self._experiment


class _Writer(ExperimentWriter):
    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self.seen: set[tuple[tuple[str, str], ...]] = set()
        if self._fs.isfile(self.metrics_file_path):
            with self._fs.open(self.metrics_file_path, "r", newline="") as file:
                reader = csv.DictReader(file)
                self.metrics_keys = list(reader.fieldnames or ())
                self.seen = {_row(each) for each in reader}

    def save(self) -> None:
        self.metrics = [each for each in self.metrics if _row(each) not in self.seen]
        self.seen |= {_row(each) for each in self.metrics}
        super().save()

    def _check_log_dir_exists(self) -> None:
        """Lightning's deletes what is there."""


def _row(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """A row as the file has it, whatever its columns."""
    return tuple(sorted((name, str(value)) for name, value in values.items() if str(value)))
