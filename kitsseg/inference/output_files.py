"""The names of the files that a prediction consists of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kitsseg.data.io.scan import Scan
from kitsseg.data.labels import OFFICIAL
from kitsseg.inference.slicewise import UNCERTAINTY


@dataclass(frozen=True)
class OutputFiles:
    """The paths of the results of a scan.

    Attributes:
        folder: contains all files.
        submission: name label volumes as the KiTS19 challenge requires.
        probabilities, uncertainty, quicklook, dicom_seg, upright: which optional files to write.
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
        """The names of the maps, see `Segmentation.maps`."""
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

    def picture(self, scan: Scan) -> Path | None:
        """Return the path of the picture, None without ``quicklook``."""
        return self.folder / "quicklook" / f"{scan.name}.png" if self.quicklook else None

    def seg(self, scan: Scan) -> Path | None:
        """Return the path of the DICOM segmentation, None without ``dicom_seg`` or for NIfTI."""
        has_seg = self.dicom_seg and scan.files
        return self.folder / "dicom_seg" / f"{scan.name}.dcm" if has_seg else None

    def upright_pair(self, scan: Scan) -> tuple[Path, Path]:
        """Return the paths of label and image on an upright grid; see `kitsseg.data.io.upright`."""
        folder = self.folder / "upright"
        return folder / f"{scan.name}.nii.gz", folder / f"{scan.name}_image.nii.gz"

    def all(self, scan: Scan) -> list[Path]:
        """Return the paths of the files of any scan, that is, all but `upright_pair`."""
        optional = [path for path in (self.picture(scan), self.seg(scan)) if path is not None]
        return [self.label(scan), *optional, *(self.map(scan, name) for name in self.maps)]


def check_inputs_are_kept(scans: Sequence[Scan], files: OutputFiles) -> None:
    """Raise `ValueError` if a label volume would overwrite an input image."""
    inputs = {scan.path.resolve() for scan in scans}
    for scan in scans:
        if files.label(scan).resolve() in inputs:
            raise ValueError(f"output={files.folder} would overwrite {scan.path}; name another folder")
