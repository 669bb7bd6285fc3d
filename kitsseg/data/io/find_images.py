"""Search for CT volumes, and names for their results."""

import os
import re
from pathlib import Path

from kitsseg.data.case import IMAGE_NAME, case_folders, is_id, nifti_ending, volume_in
from kitsseg.data.io.scan import Found, Scan, with_unique_names
from kitsseg.system.obstacles import is_file, obstacle

CHANNEL = re.compile(r"(.+)_(\d{4})")  # a name with nnU-Net's channel number
KITS_FILE = re.compile(r"(imaging|segmentation|aggregated_.*_seg)\.nii(\.gz)?")  # files of a case folder


def find_images(path: Path) -> Found:
    """Return the volumes at ``path``.

    ``path`` is a NIfTI file; a folder of NIfTI files, with or without nnU-Net's ``_0000``; a KiTS19
    folder or one of its cases; or a folder with DICOM series at any depth. The names of the results come
    from the path as given: a link is not replaced by its target. Raises `ValueError` if there is no
    volume.
    """
    if is_file(path):
        if nifti_ending(path.name) is None:
            raise ValueError(f"{path}: must be .nii or .nii.gz; for DICOM, pass the folder")
        return Found([_scan(path)], {})
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder")
    entries = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    volumes = [p for p in entries if nifti_ending(p.name) and not p.is_dir()]
    if is_id(Path(os.path.abspath(path)).name) and (
        is_file(volume_in(path, IMAGE_NAME))
        or (volumes and all(KITS_FILE.fullmatch(p.name) for p in volumes))
    ):
        return _kits_cases([path], ())
    if cases := case_folders(path):
        beside = [p for p in cases[0].parent.iterdir() if not p.name.startswith(".")]
        return _kits_cases(cases, tuple(sorted(p.name for p in beside if p not in cases)))
    if volumes:
        known = set(volumes)
        return _nifti_files(volumes, tuple(p.name for p in entries if p not in known))
    from kitsseg.data.io.dicom_search import find_series

    return find_series(path)


def _kits_cases(folders: list[Path], others: tuple[str, ...]) -> Found:
    """Return the images of case folders; missing ones are problems."""
    scans, refused = [], []
    for image in (volume_in(folder, IMAGE_NAME) for folder in folders):
        if is_file(image):
            scans.append(_scan(image))
        else:
            problem = obstacle(image) or "is missing; fetch it, or give the image of the case this name"
            name = Path(os.path.abspath(image)).parent.name
            refused.append((name, image, f"{image}: {problem}"))
    return with_unique_names(scans, refused, others)


def _nifti_files(volumes: list[Path], others: tuple[str, ...]) -> Found:
    """Return NIfTI files of one folder as scans; broken links are problems."""
    names = {path.name for path in volumes}
    scans, refused = [], []
    for path in volumes:
        scan = _scan(path)
        channel = CHANNEL.fullmatch(scan.name)
        problem = obstacle(path)
        if problem is None and channel is not None and f"{channel[1]}_0000{scan.ending}" in names:
            problem = "is another channel; CT has only _0000"
        if problem is None:
            scans.append(scan)
        else:
            refused.append((scan.name, path, f"{path}: {problem}"))
    return with_unique_names(scans, refused, others)


def _scan(path: Path) -> Scan:
    ending = nifti_ending(path.name) or ""
    # The absolute path, without resolving links.
    name, folder = path.name.removesuffix(ending), Path(os.path.abspath(path)).parent.name
    if name == IMAGE_NAME.removesuffix(".nii.gz") and is_id(folder):
        name = folder
    channel = CHANNEL.fullmatch(name)
    return Scan(channel[1] if channel and channel[2] == "0000" else name, ending.lower(), path)
