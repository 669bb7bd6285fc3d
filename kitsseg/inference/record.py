"""Describe a folder of predictions in ``predict.json`` and ``volumes.csv``."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import kitsseg
from kitsseg.data.io.scan import Scan
from kitsseg.data.labels import OFFICIAL
from kitsseg.inference.output_files import OutputFiles
from kitsseg.system.files import replacing, write_json, write_text
from kitsseg.system.locks import locked

VERSION = 2
JSON, CSV, ZIP = "predict.json", "volumes.csv", "predictions.zip"
COLUMNS = (
    "case", "input", *(f"{r}_ml" for r in OFFICIAL), "slices", "slice_mm", "row_mm", "column_mm",
    "warnings", "problem",
)  # fmt: skip
Entry = dict[str, Any]


class PredictionRecord:
    """Write ``predict.json`` and ``volumes.csv`` after each scan.

    ``predict.json`` holds the settings and one entry per scan: its input with a fingerprint, the
    fingerprint of its label file, volumes, warnings and the problem, if any. Several processes may write
    to one folder if their settings are the same: an entry is merged into the files under a lock.

    Args:
        folder: created if it does not exist.
        settings: plain values that determine the predictions.
        checkpoints: paths of the checkpoints, for information.
        computed: device, precision and runtimes, for information.
        keep: refuse a folder with other settings instead of starting a new record.

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
        self._settings = json.loads(json.dumps(settings))
        self._about = {
            "version": VERSION, "kitsseg": kitsseg.__version__, "checkpoints": list(checkpoints),
            "computed": computed, "settings": settings,
        }  # fmt: skip
        self.entries: dict[str, Entry] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                if keep:
                    self._check_same()
                self._write(self._read())
        except OSError as error:
            raise ValueError(
                f"output={folder}: {error.strerror or error}; name another folder"
            ) from error

    def add(self, scan: str, entry: Entry) -> None:
        """Store the entry of a scan, and take over the entries that other processes wrote.

        With a problem and without results, the results of an earlier run are removed: they may belong to
        another input of the same name.

        Raises:
            ValueError: another process has started a record with other settings.
        """
        with self._locked():
            self._check_same()
            stored = self._read()
            if "files" not in entry:
                for name in stored.get(scan, {}).get("files", ()):
                    (self.folder / name).unlink(missing_ok=True)
            self._write(stored | {scan: entry})

    def is_done(self, scan: Scan, files: OutputFiles) -> bool:
        """Return whether all results of a scan exist and were made from its present files."""
        entry = self.entries.get(scan.name, {})
        if "problem" in entry or not all(path.is_file() for path in files.all(scan)):
            return False
        label = fingerprint(files.label(scan))
        return entry.get("label_sha256") == label and entry.get("input_sha256") == scan_fingerprint(scan)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self.folder / JSON, Event(), lambda note: None):
            yield

    def _read(self) -> dict[str, Entry]:
        """Return the stored entries of the same settings."""
        try:
            stored = json.loads((self.folder / JSON).read_text())
            return dict(stored["scans"]) if stored["settings"] == self._settings else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write(self, entries: dict[str, Entry]) -> None:
        self.entries = dict(sorted(entries.items()))
        write_json(self.folder / JSON, self._about | {"scans": self.entries})
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for scan, entry in self.entries.items():
            writer.writerow({"case": scan, **entry, "warnings": "; ".join(entry.get("warnings", ()))})
        write_text(self.folder / CSV, out.getvalue())

    def _check_same(self) -> None:
        """Raise `ValueError` unless the stored record, if any, has the same settings."""
        path = self.folder / JSON
        if not path.is_file():
            return
        try:
            stored = json.loads(path.read_text())["settings"]
            differ = [k for k in {**self._settings, **stored} if stored.get(k) != self._settings.get(k)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}: not a record of predictions ({error!r}); use a new output"
            ) from error
        if differ:
            raise ValueError(
                f"{path}: made with other settings ({', '.join(differ)}); use a new output, or "
                "skip_existing=false to replace the results"
            )


def fingerprint(*paths: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; of several files, that of their digests."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256"))
    if len(digests) == 1:
        return digests[0].hexdigest()
    return hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()


def scan_fingerprint(scan: Scan) -> str:
    """Return the `fingerprint` of the files of a scan."""
    return fingerprint(*(scan.files or [scan.path]))


def write_zip(path: Path, files: Sequence[Path]) -> None:
    """Write the files, uncompressed, to an archive that appears only when complete."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, file.name)
