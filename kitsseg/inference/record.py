"""Describe a folder of predictions in ``predict.json`` and ``volumes.csv``."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kitsseg
from kitsseg.data.labels import OFFICIAL
from kitsseg.system.files import replacing, write_json, write_text

VERSION = 1
JSON, CSV, ZIP = "predict.json", "volumes.csv", "predictions.zip"
COLUMNS = ("case", "input", *(f"{r}_ml" for r in OFFICIAL), "slices", "slice_mm", "row_mm", "column_mm")
Row = dict[str, str]


class PredictionRecord:
    """Write ``predict.json`` once and ``volumes.csv`` after each case.

    The row of a case is written after its other files, so it shows that they are complete.

    Args:
        folder: created if it does not exist.
        settings: plain values that determine the predictions.
        checkpoints: paths of the checkpoints, for information.
        computed: device, precision and runtimes, for information.
        keep: keep existing results, which must have the same settings.

    Raises:
        ValueError: the folder holds results of other settings or a damaged record, or is not writable.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        checkpoints: Sequence[str],
        computed: dict[str, Any],
        keep: bool,
    ) -> None:
        self.folder = folder
        self.rows: dict[str, Row] = {}
        information = {
            "version": VERSION, "kitsseg": kitsseg.__version__, "checkpoints": list(checkpoints),
            "computed": computed,
        }  # fmt: skip
        if keep and (folder / JSON).is_file():
            _check_same(folder / JSON, settings)
            self.rows = _read_rows(folder / CSV)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not self.rows:  # may be of another run
                (folder / CSV).unlink(missing_ok=True)
            write_json(folder / JSON, information | {"settings": settings})
        except OSError as error:
            raise ValueError(
                f"output={folder}: {error.strerror or error}; name another folder"
            ) from error

    def add(self, case: str, row: dict[str, Any]) -> None:
        """Store the row of a case (its metrics or its problem) and write ``volumes.csv``."""
        self.rows[case] = {"case": case} | {name: str(value) for name, value in row.items()}
        out = io.StringIO()
        writer = csv.DictWriter(out, [*COLUMNS, "problem"], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[name] for name in sorted(self.rows))
        write_text(self.folder / CSV, out.getvalue())

    def is_done(self, case: str, files: Sequence[Path]) -> bool:
        """Return whether a case has a row without a problem and all its files."""
        row = self.rows.get(case)
        return row is not None and not row.get("problem") and all(path.is_file() for path in files)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_zip(path: Path, files: Sequence[Path]) -> None:
    """Write the files, uncompressed, to an archive that appears only when complete."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, file.name)


def _check_same(path: Path, settings: dict[str, Any]) -> None:
    """Raise `ValueError` unless the record at ``path`` has the same settings."""
    try:
        stored = json.loads(path.read_text())["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a record of predictions ({error!r}); use a new output") from error
    current = json.loads(json.dumps(settings))
    differ = [key for key in {**current, **stored} if stored.get(key) != current.get(key)]
    if differ:
        raise ValueError(
            f"{path}: made with other settings ({', '.join(differ)}); use a new output, or "
            "skip_existing=false to replace the results"
        )


def _read_rows(path: Path) -> dict[str, Row]:
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file) if row.get("case")}
