"""Segment scans into a folder of predictions, which ``predict.json`` and ``volumes.csv`` describe."""

import json
import os
import zipfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2

import kitsseg
from kitsseg.data.case import name_key
from kitsseg.data.io.dicom_seg import save_seg
from kitsseg.data.io.nifti.read import Image
from kitsseg.data.io.nifti.write import save_volume
from kitsseg.data.io.scan import Scan
from kitsseg.data.io.upright import save_upright
from kitsseg.data.labels import KITS19, Labels
from kitsseg.inference import quicklook
from kitsseg.inference.segmenter import Segmenter
from kitsseg.inference.slicewise import UNCERTAINTY
from kitsseg.system.files import fingerprint, replacing, write_csv, write_json
from kitsseg.system.locks import locked

VERSION = 2
JSON, CSV, ZIP = "predict.json", "volumes.csv", "predictions.zip"
UPRIGHT = ("upright", "upright_image")  # subfolders of label and image
Entry = dict[str, Any]


@dataclass(frozen=True)
class OutputFiles:
    """The files in ``folder``. The flags are values of ``conf/predict.yaml``."""

    folder: Path
    submission: bool
    probabilities: bool
    uncertainty: bool
    quicklook: bool
    dicom_seg: bool
    upright: bool
    labels: Labels = KITS19

    @property
    def maps(self) -> list[str]:
        """The names of the maps, see `kitsseg.inference.segmenter.Segmentation`."""
        regions = self.labels.table_regions if self.probabilities else ()
        return [*regions, *([UNCERTAINTY] if self.uncertainty else [])]

    def label(self, scan: Scan) -> Path:
        """Return the path of the label volume; a submission has the names of the KiTS19 challenge."""
        name = f"prediction_{scan.number:05d}.nii.gz" if self.submission else f"{scan.name}{scan.ending}"
        return self.folder / name

    def optional(self, scan: Scan) -> dict[str, Path]:
        """Return the paths of all results but the label, by the name of the map or of the subfolder."""
        kinds = {n: (n if n == UNCERTAINTY else f"probability_{n}", scan.ending) for n in self.maps}
        if self.quicklook:
            kinds["quicklook"] = ("quicklook", ".png")
        if self.dicom_seg and scan.files:
            kinds["dicom_seg"] = ("dicom_seg", ".dcm")
        if self.upright:
            kinds |= {subfolder: (subfolder, ".nii.gz") for subfolder in UPRIGHT}
        return {k: self.folder / place / f"{scan.name}{ending}" for k, (place, ending) in kinds.items()}

    def check_inputs_are_kept(self, source: Path, scans: Sequence[Scan]) -> None:
        """Raise `ValueError` if a result would overwrite or be read as an input, on any file system.

        ``source`` may be a table of cases.
        """
        inputs = {source, *(path for scan in scans for path in (scan.path, *scan.files))}
        keys = {name_key(str(path.resolve())) for path in inputs}
        results = [self.folder / name for name in (JSON, CSV, ZIP)]
        for scan in scans:
            results += [self.label(scan), *self.optional(scan).values()]
        for path in results:
            if name_key(str(path.resolve())) in keys:
                raise ValueError(f"output={self.folder} would overwrite {path}; name another folder")
        if source.is_dir() and name_key(str(self.folder.resolve())) in keys:
            problem = "is the folder of the input, so the next run would read its results as images"
            raise ValueError(f"output={self.folder} {problem}; name another folder")


def segment_scan(scan: Scan, image: Image, segmenter: Segmenter, files: OutputFiles) -> Entry:
    """Segment a scan, write its files, the label volume first, and return the entry for the record.

    Its ``problem`` names optional files that could not be written. Raises `ValueError` if the scan
    cannot be segmented, and `OSError` on other failures to write.
    """
    layout, paths = image.layout, files.optional(scan)
    try:
        result = segmenter.segment(image.hu, layout.spacing_mm, files.maps)
    except ValueError as error:
        raise ValueError(f"{scan.path}: {error}") from error
    label, written = result.label, [files.label(scan)]
    save_volume(files.label(scan), label, layout)
    for name, values in result.maps.items():
        save_volume(paths[name], values, layout, unit=1 / 255)
        written.append(paths[name])
    labels = segmenter.labels
    sizes = {region: int(labels.mask(label, region).sum()) for region in labels.table_regions}
    volumes_ml = {region: voxels * layout.voxel_ml for region, voxels in sizes.items()}
    writers = [
        (["quicklook"], partial(quicklook.save, scan.name, image, label, volumes_ml, labels)),
        (["dicom_seg"], partial(save_seg, scan, label, layout, labels)),
        (UPRIGHT if layout.is_sheared else [], partial(save_upright, image, label)),
    ]
    problems = []
    for subfolders, write in writers:
        if targets := [paths[name] for name in subfolders if name in paths]:
            try:
                write(*targets)
                written += targets
            except (ValueError, cv2.error) as error:
                problems.append(f"{scan.label}: {error}")
    spacing = zip(("slice_mm", "row_mm", "column_mm"), layout.spacing_mm, strict=True)
    entry = {
        "input": str(scan.path),
        "input_sha256": fingerprint(*(scan.files or [scan.path])),
        "label_sha256": fingerprint(files.label(scan)),
        "files": [str(path.relative_to(files.folder)) for path in written],
        **{f"{region}_ml": f"{ml:.3f}" for region, ml in volumes_ml.items()},
        "slices": len(image.hu),
        **{name: f"{mm:.6g}" for name, mm in spacing},
        "warnings": [*image.warnings, *result.warnings],
    }
    return entry | ({"problem": "; ".join(problems)} if problems else {})


class PredictionRecord:
    """Write ``predict.json`` and ``volumes.csv`` after each scan.

    ``predict.json`` holds the settings and one entry per scan: its input with a fingerprint, the
    fingerprint of its label file, volumes, warnings and the problem, if any. Several processes may write
    to one folder if their settings are the same: an entry is merged into the files under a lock. Raises
    `ValueError` if the folder holds a damaged record, or is not writable.

    Args:
        settings: plain values that determine the predictions.
        about: further plain values, for information.
        keep: raise an error if the folder has other settings, instead of starting a new record.
        searched: absolute path of the input, stored as ``searched`` in the entries of problems.
        regions: regions whose volumes are in ``volumes.csv``.
    """

    def __init__(
        self, folder: Path, settings: Entry, about: Entry, keep: bool, searched: str = "",
        regions: Sequence[str] = KITS19.table_regions,
    ) -> None:  # fmt: skip
        self.folder, self.searched = folder, searched
        self._columns = [
            "case", "input", *(f"{region}_ml" for region in regions), "slices", "slice_mm", "row_mm",
            "column_mm", "warnings", "problem",
        ]  # fmt: skip
        self._lock = partial(locked, folder / JSON)
        self._settings = json.loads(json.dumps(settings))
        self._about = {"version": VERSION, "kitsseg": kitsseg.__version__, **about, "settings": settings}
        self.entries: dict[str, Entry] = {}
        self._former: dict[str, Entry] = {}  # entries made with other settings
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._lock():
                self._write(self._read(keep))
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(f"output={folder}: {reason}; name another folder") from error

    def add(self, scan: str, entry: Entry) -> None:
        """Store the entry of a scan, and take over the entries that other processes wrote.

        Files of an earlier entry that this one does not name are removed if they belong to another input
        or other settings, or if the scan has no results now. Raises `ValueError` if another process has
        started a record with other settings.
        """
        with self._lock():
            stored, root = self._read(check=True), Path(os.path.abspath(self.folder))
            old = stored.get(scan, self._former.get(scan, {}))
            is_same = scan in stored and old.get("input_sha256") == entry.get("input_sha256")
            outdated = [] if is_same and "files" in entry else old.get("files", ())
            for name in set(outdated) - set(entry.get("files", ())):
                path = Path(os.path.abspath(root / name))
                if path.is_relative_to(root):  # the record may come from an untrusted source
                    path.unlink(missing_ok=True)
            self._write(stored | {scan: entry})

    def drop_problems(self, current: Collection[str], is_requested: Callable[[str], bool]) -> None:
        """Remove the problems that an earlier run found in the same input, and that no longer exist.

        ``current`` holds the names of the scans and problems of this run. ``is_requested`` returns
        whether this run looks for the case with a name.
        """
        with self._lock():
            kept = {}
            for name, entry in self._read(check=True).items():
                same_input = entry.get("searched") == self.searched
                if name in current or not same_input or not is_requested(name):
                    kept[name] = entry
            self._write(kept)

    def is_done(self, scan: Scan, label: Path) -> bool:
        """Return whether all results of a scan exist and were made from its present files."""
        entry = self.entries.get(scan.name, {})
        paths = [label, *(self.folder / name for name in entry.get("files", ()))]
        if "problem" in entry or not all(path.is_file() for path in paths):
            return False
        found = (fingerprint(label), fingerprint(*(scan.files or [scan.path])))
        return found == (entry.get("label_sha256"), entry.get("input_sha256"))

    def _read(self, check: bool) -> dict[str, Entry]:
        """Return the stored entries of the same settings; ``check`` refuses a record without them."""
        path = self.folder / JSON
        if not path.is_file():
            return {}
        try:
            stored = json.loads(path.read_text())
            settings = dict(stored["settings"])
            entries = {str(scan): dict(entry) for scan, entry in stored["scans"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
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
        rows = []
        for scan, entry in self.entries.items():
            row = {"case": scan, **entry, "warnings": "; ".join(entry.get("warnings", ()))}
            rows.append({name: row[name] for name in self._columns if name in row})
        write_csv(self.folder / CSV, self._columns, rows)


def write_zip(path: Path, files: Sequence[Path]) -> None:
    """Write the files, uncompressed, to an archive that appears only when complete."""
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", strict_timestamps=False) as archive,
    ):
        for file in files:
            archive.write(file, file.name)
