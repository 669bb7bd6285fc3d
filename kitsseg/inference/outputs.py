"""The files that a prediction consists of: labels, probability maps, pictures and DICOM SEG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitsseg.data.case_statistics import pixels_by_slice
from kitsseg.data.io.nifti import Image
from kitsseg.data.io.scan import Scan
from kitsseg.data.io.write import make_header, read_header, save_volume
from kitsseg.data.labels import OFFICIAL, REGIONS
from kitsseg.inference import quicklook
from kitsseg.inference.segmenter import Segmenter
from kitsseg.inference.slicewise import UNCERTAINTY
from kitsseg.system.files import replacing


@dataclass(frozen=True)
class OutputFiles:
    """The paths of the results of a scan.

    Attributes:
        folder: contains all files.
        submission: name label volumes as the KiTS19 challenge requires.
        probabilities, uncertainty, quicklook, dicom_seg: which optional files to write.
    """

    folder: Path
    submission: bool
    probabilities: bool
    uncertainty: bool
    quicklook: bool
    dicom_seg: bool

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

    def all(self, scan: Scan) -> list[Path]:
        """Return the paths of all files of a scan."""
        optional = [path for path in (self.picture(scan), self.seg(scan)) if path is not None]
        return [self.label(scan), *optional, *(self.map(scan, name) for name in self.maps)]


def check_inputs_are_kept(scans: Sequence[Scan], files: OutputFiles) -> None:
    """Raise `ValueError` if a label volume would overwrite an input image."""
    inputs = {scan.path.resolve() for scan in scans}
    for scan in scans:
        if files.label(scan).resolve() in inputs:
            raise ValueError(f"output={files.folder} would overwrite {scan.path}; name another folder")


def segment_scan(scan: Scan, image: Image, segmenter: Segmenter, files: OutputFiles) -> dict[str, Any]:
    """Segment a scan, write its files, and return its row for ``volumes.csv``.

    The label volume is written last.

    Raises:
        ValueError: the scan cannot be segmented.
        OSError: a file cannot be written.
    """
    layout = image.layout
    result = segmenter.segment(image.hu, layout.spacing_mm, files.maps)
    header = make_header(layout) if scan.files else read_header(scan.path)
    for path in files.all(scan):
        path.parent.mkdir(parents=True, exist_ok=True)
    for name, values in result.maps.items():
        save_volume(files.map(scan, name), values, layout, header, unit=1 / 255)
    voxels = pixels_by_slice(result.label).sum(axis=0)
    volumes_ml = {
        region: float(voxels[list(REGIONS[region])].sum() * layout.voxel_ml) for region in OFFICIAL
    }
    if (picture_path := files.picture(scan)) is not None:
        picture = quicklook.draw(scan.name, image.hu, result.label, layout.spacing_mm, volumes_ml)
        with replacing(picture_path) as temporary:
            temporary.write_bytes(quicklook.encode_png(picture))
    if (seg_path := files.seg(scan)) is not None:
        from kitsseg.data.io.dicom_seg import save_seg  # optional packages

        save_seg(seg_path, scan, result.label, layout)
    save_volume(files.label(scan), result.label, layout, header)
    spacing = zip(("slice_mm", "row_mm", "column_mm"), layout.spacing_mm, strict=True)
    return {
        **{f"{region}_ml": f"{ml:.3f}" for region, ml in volumes_ml.items()},
        "slices": len(image.hu),
        **{name: f"{mm:.6g}" for name, mm in spacing},
    }
