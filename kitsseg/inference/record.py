"""The files of a folder of predictions, which ``predict.json`` and ``volumes.csv`` describe."""

import csv
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import kitsseg
from kitsseg.data.case import case_number
from kitsseg.data.io.scan import Scan, name_key
from kitsseg.data.labels import OFFICIAL
from kitsseg.inference.slicewise import UNCERTAINTY
from kitsseg.system.files import replacing, write_json, write_text
from kitsseg.system.locks import locked

VERSION = 2
JSON, CSV, ZIP = "predict.json", "volumes.csv", "predictions.zip"
COLUMNS = (
    "case", "input", *(f"{r}_ml" for r in OFFICIAL), "slices", "slice_mm", "row_mm", "column_mm",
    "warnings", "problem",
)  # fmt: skip
Entry = dict[str, Any]


@dataclass(frozen=True)
class OutputFiles:
    """The paths of the results of a scan in ``folder``.

    With ``submission``, label volumes are named as the KiTS19 challenge requires. The others choose
    optional files.
    """

    folder: Path
    submission: bool
    probabilities: bool
    uncertainty: bool
    quicklook: bool
    dicom_seg: bool
    upright: bool

    @property
    def maps(self) -> list[str]:
        """The names of the maps, see `kitsseg.inference.segmenter.Segmentation`."""
        return [*(OFFICIAL if self.probabilities else ()), *([UNCERTAINTY] if self.uncertainty else [])]

    def label(self, scan: Scan) -> Path:
        """Return the path of the label volume."""
        if self.submission:
            return self.folder / f"prediction_{scan.number:05d}.nii.gz"
        return self.folder / f"{scan.name}{scan.ending}"

    def map(self, scan: Scan, name: str) -> Path:
        """Return the path of a map."""
        subfolder = name if name == UNCERTAINTY else f"probability_{name}"
        return self.folder / subfolder / f"{scan.name}{scan.ending}"

    def picture(self, scan: Scan) -> list[Path]:
        """Return the path of the picture; empty without ``quicklook``."""
        return [self.folder / "quicklook" / f"{scan.name}.png"] if self.quicklook else []

    def seg(self, scan: Scan) -> list[Path]:
        """Return the path of the DICOM segmentation; empty without ``dicom_seg`` or for NIfTI."""
        has_seg = self.dicom_seg and scan.files
        return [self.folder / "dicom_seg" / f"{scan.name}.dcm"] if has_seg else []

    def upright_pair(self, scan: Scan) -> list[Path]:
        """Return the paths of label and image on an upright grid; empty without ``upright``."""
        subfolders = ("upright", "upright_image") if self.upright else ()
        return [self.folder / subfolder / f"{scan.name}.nii.gz" for subfolder in subfolders]

    def all(self, scan: Scan) -> list[Path]:
        """Return the paths of the files of any scan, that is, all but `upright_pair`."""
        maps = [self.map(scan, name) for name in self.maps]
        return [self.label(scan), *maps, *self.picture(scan), *self.seg(scan)]

    def check_inputs_are_kept(self, scans: Sequence[Scan]) -> None:
        """Raise `ValueError` if a result would overwrite an input file, also if case is ignored."""
        inputs = {name_key(str(path.resolve())) for s in scans for path in (s.path, *s.files)}
        for scan in scans:
            for path in (*self.all(scan), *self.upright_pair(scan)):
                if name_key(str(path.resolve())) in inputs:
                    raise ValueError(f"output={self.folder} would overwrite {path}; name another folder")


class PredictionRecord:
    """Write ``predict.json`` and ``volumes.csv`` after each scan.

    ``predict.json`` holds the settings and one entry per scan: its input with a fingerprint, the
    fingerprint of its label file, volumes, warnings and the problem, if any. Several processes may write
    to one folder if their settings are the same: an entry is merged into the files under a lock.

    Args:
        settings: plain values that determine the predictions.
        about: further plain values, for information.
        keep: refuse a folder with other settings instead of starting a new record.
        searched: absolute path of the input, which the entries of problems hold under this name.

    Raises:
        ValueError: the folder holds results of other settings or a damaged record, or is not writable.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        about: dict[str, Any],
        keep: bool,
        searched: str = "",
    ) -> None:
        self.folder, self.searched = folder, searched
        self._settings = json.loads(json.dumps(settings))
        self._about = {"version": VERSION, "kitsseg": kitsseg.__version__, **about, "settings": settings}
        self.entries: dict[str, Entry] = {}
        self._former: dict[str, Entry] = {}  # of other settings
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._write(self._read(keep))
        except OSError as error:
            raise ValueError(
                f"output={folder}: {error.strerror or error}; name another folder"
            ) from error

    def add(self, scan: str, entry: Entry) -> None:
        """Store the entry of a scan, and take over the entries that other processes wrote.

        Files of an earlier entry that this one does not name are removed if they belong to another input
        or other settings, or if the scan has no results now. Raises `ValueError` if another process has
        started a record with other settings.
        """
        with self._locked():
            stored, root = self._read(check=True), Path(os.path.abspath(self.folder))
            old = stored.get(scan, self._former.get(scan, {}))
            differs = scan not in stored or old.get("input_sha256") != entry.get("input_sha256")
            if differs or "files" not in entry:
                for name in set(old.get("files", ())) - set(entry.get("files", ())):
                    path = Path(os.path.abspath(root / name))
                    if path.is_relative_to(root):  # the record may be a stranger's
                        path.unlink(missing_ok=True)
            self._write(stored | {scan: entry})

    def drop_problems(self, current: Collection[str], numbers: Collection[int] | None) -> None:
        """Remove the problems that an earlier run found in the same input, and that no longer exist.

        ``current`` holds the names of the scans and problems of this run, ``numbers`` the cases that it
        looks for; None for all.
        """
        with self._locked():
            kept = {}
            for name, entry in self._read(check=True).items():
                is_requested = numbers is None or case_number(Path(name).name) in numbers
                if name in current or entry.get("searched") != self.searched or not is_requested:
                    kept[name] = entry
            self._write(kept)

    def is_done(self, scan: Scan, files: OutputFiles) -> bool:
        """Return whether all results of a scan exist and were made from its present files."""
        entry = self.entries.get(scan.name, {})
        paths = [*files.all(scan), *(self.folder / name for name in entry.get("files", ()))]
        if "problem" in entry or not all(path.is_file() for path in paths):
            return False
        label = fingerprint(files.label(scan))
        return entry.get("label_sha256") == label and entry.get("input_sha256") == scan_fingerprint(scan)

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.folder / JSON, Event(), lambda note: None)

    def _read(self, check: bool) -> dict[str, Entry]:
        """Return the stored entries of the same settings; ``check`` refuses a record without them."""
        path = self.folder / JSON
        if not path.is_file():
            return {}
        try:
            stored = json.loads(path.read_text())
            settings, entries = dict(stored["settings"]), dict(stored["scans"])
        except (ValueError, KeyError, TypeError) as error:
            if not check:
                return {}
            raise ValueError(
                f"{path}: not a record of predictions ({error!r}); use a new output"
            ) from error
        mine = self._settings
        differ = [key for key in {**mine, **settings} if settings.get(key) != mine.get(key)]
        if not differ:
            return entries
        if check:
            raise ValueError(
                f"{path}: made with other settings ({', '.join(differ)}); use a new output, or "
                "skip_existing=false to replace the results"
            )
        self._former = entries
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
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", strict_timestamps=False) as archive,
    ):
        for file in files:
            archive.write(file, file.name)
