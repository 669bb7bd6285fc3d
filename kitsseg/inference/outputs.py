"""Segment a scan and write the files of the prediction."""

from functools import partial

import cv2

from kitsseg.data.case_statistics import pixels_by_slice
from kitsseg.data.io.dicom_seg import save_seg
from kitsseg.data.io.nifti.read import Image
from kitsseg.data.io.nifti.write import save_volume
from kitsseg.data.io.scan import Scan
from kitsseg.data.io.upright import save_upright
from kitsseg.data.labels import OFFICIAL, REGIONS
from kitsseg.inference import quicklook
from kitsseg.inference.record import Entry, OutputFiles, fingerprint, scan_fingerprint
from kitsseg.inference.segmenter import Segmenter


def segment_scan(scan: Scan, image: Image, segmenter: Segmenter, files: OutputFiles) -> Entry:
    """Segment a scan, write its files, the label volume first, and return the entry for the record.

    Its ``problem`` names optional files that could not be written.

    Raises:
        ValueError: the scan cannot be segmented.
        OSError: a file cannot be written.
    """
    layout = image.layout
    result = segmenter.segment(image.hu, layout.spacing_mm, files.maps)
    label = result.label
    for path in files.all(scan):
        path.parent.mkdir(parents=True, exist_ok=True)
    save_volume(files.label(scan), label, layout)
    for name, values in result.maps.items():
        save_volume(files.map(scan, name), values, layout, unit=1 / 255)
    voxels = pixels_by_slice(label).sum(axis=0)
    volumes_ml = {
        region: float(voxels[list(REGIONS[region])].sum() * layout.voxel_ml) for region in OFFICIAL
    }
    optional = [
        (files.picture(scan), partial(quicklook.save, scan.name, image, label, volumes_ml)),
        (files.seg(scan), partial(save_seg, scan, label, layout)),
        (files.upright_pair(scan) if layout.is_sheared else [], partial(save_upright, image, label)),
    ]
    written = [files.label(scan), *(files.map(scan, name) for name in result.maps)]
    problems = []
    for paths, write in optional:
        try:
            if paths:
                write(*paths)
                written += paths
        except (ValueError, cv2.error) as error:
            problems.append(f"{scan.label}: {error}")
    spacing = zip(("slice_mm", "row_mm", "column_mm"), layout.spacing_mm, strict=True)
    entry = {
        "input": str(scan.path),
        "input_sha256": scan_fingerprint(scan),
        "label_sha256": fingerprint(files.label(scan)),
        "files": [str(path.relative_to(files.folder)) for path in written],
        **{f"{region}_ml": f"{ml:.3f}" for region, ml in volumes_ml.items()},
        "slices": len(image.hu),
        **{name: f"{mm:.6g}" for name, mm in spacing},
        "warnings": [*image.warnings, *result.warnings],
    }
    return entry | ({"problem": "; ".join(problems)} if problems else {})
