"""Segment a scan and write the files of the prediction."""

from collections.abc import Mapping

import cv2

from kitsseg.data.case_statistics import pixels_by_slice
from kitsseg.data.io.nifti.read import Image
from kitsseg.data.io.nifti.write import save_volume
from kitsseg.data.io.scan import Scan
from kitsseg.data.io.upright import resample_upright, upright_layout
from kitsseg.data.labels import AIR_HU, BACKGROUND, OFFICIAL, REGIONS
from kitsseg.inference import quicklook
from kitsseg.inference.output_files import OutputFiles
from kitsseg.inference.record import Entry, fingerprint, scan_fingerprint
from kitsseg.inference.segmenter import Labels, Segmenter
from kitsseg.system.files import replacing


def segment_scan(scan: Scan, image: Image, segmenter: Segmenter, files: OutputFiles) -> Entry:
    """Segment a scan and write its files, the label volume first.

    Returns:
        The entry for the record. Its ``problem`` names optional files that could not be written.

    Raises:
        ValueError: the scan cannot be segmented.
        OSError: a file cannot be written.
    """
    layout = image.layout
    result = segmenter.segment(image.hu, layout.spacing_mm, files.maps)
    header = make_header(layout) if scan.files else read_header(scan.path)
    for path in files.all(scan):
        path.parent.mkdir(parents=True, exist_ok=True)
    save_volume(files.label(scan), result.label, layout, header)
    for name, values in result.maps.items():
        save_volume(files.map(scan, name), values, layout, header, unit=1 / 255)
    voxels = pixels_by_slice(result.label).sum(axis=0)
    volumes_ml = {
        region: float(voxels[list(REGIONS[region])].sum() * layout.voxel_ml) for region in OFFICIAL
    }
    problems = []
    for write in (_write_picture, _write_seg, _write_upright):
        try:
            write(scan, image, result.label, files, volumes_ml)
        except (ValueError, cv2.error) as error:
            problems.append(f"{scan.label}: {error}")
    written = (*files.all(scan), *(files.upright_pair(scan) if files.upright else ()))
    spacing = zip(("slice_mm", "row_mm", "column_mm"), layout.spacing_mm, strict=True)
    entry = {
        "input": str(scan.path),
        "input_sha256": scan_fingerprint(scan),
        "label_sha256": fingerprint(files.label(scan)),
        "files": [str(path.relative_to(files.folder)) for path in written if path.is_file()],
        **{f"{region}_ml": f"{ml:.3f}" for region, ml in volumes_ml.items()},
        "slices": len(image.hu),
        **{name: f"{mm:.6g}" for name, mm in spacing},
        "warnings": [*image.warnings, *result.warnings],
    }
    return entry | ({"problem": "; ".join(problems)} if problems else {})


Volumes = Mapping[str, float]


def _write_picture(scan: Scan, image: Image, label: Labels, files: OutputFiles, ml: Volumes) -> None:
    if (path := files.picture(scan)) is not None:
        picture = quicklook.draw(scan.name, image.hu, label, image.layout.spacing_mm, ml)
        with replacing(path) as temporary:
            temporary.write_bytes(quicklook.encode_png(picture))


def _write_seg(scan: Scan, image: Image, label: Labels, files: OutputFiles, ml: Volumes) -> None:
    if (path := files.seg(scan)) is not None:
        from kitsseg.data.io.dicom_seg import save_seg  # optional packages

        save_seg(path, scan, label, image.layout)


def _write_upright(scan: Scan, image: Image, label: Labels, files: OutputFiles, ml: Volumes) -> None:
    if files.upright and image.layout.is_sheared:
        layout = upright_layout(image.layout)
        header = make_header(layout)
        label_path, image_path = files.upright_pair(scan)
        label_path.parent.mkdir(parents=True, exist_ok=True)
        upright = resample_upright(label, image.layout, BACKGROUND, linear=False)
        save_volume(label_path, upright, layout, header)
        save_volume(image_path, resample_upright(image.hu, image.layout, AIR_HU, True), layout, header)
