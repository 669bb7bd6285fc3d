"""Search for CT volumes, and names for their results."""

import os
import re
from pathlib import Path

from kitsseg.data.case import IMAGE_NAME, case_folders, is_id, nifti_ending, volume_in
from kitsseg.data.io.scan import Found, Scan, with_unique_names
from kitsseg.system.obstacles import is_file, obstacle

CHANNEL = re.compile(r"(.+)_(\d{4})")  # a name with nnU-Net's channel number


def find_images(path: Path) -> Found:
    """Return the volumes at ``path``.

    It is a NIfTI file; a folder of NIfTI files, with or without nnU-Net's ``_0000``; a KiTS19 folder or
    one of its cases; or a folder with DICOM series at any depth. The names of the results come from the
    path as given: a link is not replaced by its target. Raises `ValueError` if there is no volume.
    """
    if is_file(path):
        if nifti_ending(path.name) is None:
            raise ValueError(f"{path}: must be .nii or .nii.gz; for DICOM, pass the folder")
        return Found([_scan(path)], {})
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder")
    if is_id(Path(os.path.abspath(path)).name) and is_file(volume_in(path, IMAGE_NAME)):
        return Found([_scan(volume_in(path, IMAGE_NAME))], {})
    entries = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    if cases := case_folders(path):
        images = [volume_in(folder, IMAGE_NAME) for folder in cases]
        missing = [image for image in images if not is_file(image)]
        problems = {i.parent.name: f"{i}: {obstacle(i) or 'is missing; fetch it'}" for i in missing}
        beside = [p for p in cases[0].parent.iterdir() if not p.name.startswith(".")]
        others = sorted(p.name for p in beside if p not in cases)
        return with_unique_names([_scan(i) for i in images if i not in missing], problems, tuple(others))
    if any(nifti_ending(p.name) and not p.is_dir() for p in entries):
        return _nifti_files(entries)
    from kitsseg.data.io.dicom_search import find_series

    return find_series(path)


def _nifti_files(entries: list[Path]) -> Found:
    """Return the NIfTI files among the entries of a folder; broken links are problems."""
    volumes = {p.name: p for p in entries if nifti_ending(p.name) and not p.is_dir()}
    others = tuple(p.name for p in entries if p.name not in volumes)
    scans, problems = [], {}
    for name, path in volumes.items():
        scan = _scan(path)
        channel = CHANNEL.fullmatch(scan.name)
        if (problem := obstacle(path)) is not None:
            problems[name] = f"{path}: {problem}"
        elif channel is not None and f"{channel[1]}_0000{scan.ending}" in volumes:
            problems[name] = f"{path}: is another channel; CT has only _0000"
        else:
            scans.append(scan)
    return with_unique_names(scans, problems, others)


def _scan(path: Path) -> Scan:
    ending = nifti_ending(path.name) or ""
    # The absolute path, without resolving links.
    name, folder = path.name.removesuffix(ending), Path(os.path.abspath(path)).parent.name
    if name == IMAGE_NAME.removesuffix(".nii.gz") and is_id(folder):
        name = folder
    channel = CHANNEL.fullmatch(name)
    return Scan(channel[1] if channel and channel[2] == "0000" else name, ending.lower(), path)
