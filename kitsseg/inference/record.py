"""What a folder of predictions says of itself: ``predict.json`` and ``volumes.csv``."""

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
    """The two files of one folder; a case's row is written after all else of it, so a row is proof.

    Args:
        folder: is made if it isn't there.
        settings: all that the label volumes follow from; plain values.
        checkpoints: where their checkpoints lay, for people.
        computed: on and by what they were computed, for people.
        keep: go on with what is there, which must have been made with the same settings.

    Raises:
        ValueError: what is there was made with other settings, or isn't a record; or the
            folder can't be written.
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
        about = {
            "version": VERSION, "kitsseg": kitsseg.__version__, "checkpoints": list(checkpoints),
            "computed": computed,
        }  # fmt: skip
        if keep and (folder / JSON).is_file():
            _check_same(folder / JSON, settings)
            self.rows = _read_rows(folder / CSV)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not self.rows:  # those of a run with other settings are nobody's proof
                (folder / CSV).unlink(missing_ok=True)
            write_json(folder / JSON, about | {"settings": settings})
        except OSError as error:
            raise ValueError(
                f"output={folder}: {error.strerror or error}; name another folder"
            ) from error

    def add(self, case: str, row: dict[str, Any]) -> None:
        """A case's figures, or its problem: a row, at once on the disk."""
        self.rows[case] = {"case": case} | {name: str(value) for name, value in row.items()}
        out = io.StringIO()
        writer = csv.DictWriter(out, [*COLUMNS, "problem"], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[name] for name in sorted(self.rows))
        write_text(self.folder / CSV, out.getvalue())

    def is_done(self, case: str, files: Sequence[Path]) -> bool:
        """Whether a case has its row and its files from an earlier run."""
        row = self.rows.get(case)
        return row is not None and not row.get("problem") and all(path.is_file() for path in files)


def fingerprint(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_zip(path: Path, files: Sequence[Path]) -> None:
    """The files in one archive, as they are, whole or not at all."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for each in files:
            archive.write(each, each.name)


def _check_same(path: Path, settings: dict[str, Any]) -> None:
    try:
        held = json.loads(path.read_text())["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: isn't a record of predictions ({error!r}); use a new output"
        ) from error
    wanted = json.loads(json.dumps(settings))
    differ = [key for key in {**wanted, **held} if held.get(key) != wanted.get(key)]
    if differ:
        raise ValueError(
            f"{path}: what is there was made with other settings ({', '.join(differ)}); use a new "
            "output, or skip_existing=false to replace it"
        )


def _read_rows(path: Path) -> dict[str, Row]:
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file) if row.get("case")}
