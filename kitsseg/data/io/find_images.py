"""Search for CT volumes, and names for their results."""

import re
from pathlib import Path

from kitsseg.data.case import IMAGE_NAME, case_folders, is_id
from kitsseg.data.io.scan import Found, Scan
from kitsseg.system.obstacles import is_file, obstacle

NIFTI = (".nii.gz", ".nii")
CHANNEL = re.compile(r"(.+)_(\d{4})")  # a name with nnU-Net's channel number


def find_images(path: Path) -> Found:
    """Return the volumes at ``path``.

    Args:
        path: a NIfTI file; a folder of NIfTI files, with or without nnU-Net's ``_0000``; a KiTS19
            folder or one of its cases; or a folder with DICOM series at any depth.

    Raises:
        ValueError: there is no volume.
    """
    if path.is_file():
        if not path.name.endswith(NIFTI):
            raise ValueError(f"{path}: must be .nii or .nii.gz; for DICOM, pass the folder")
        return Found([_scan(path)], {})
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder")
    if is_id(path.resolve().name) and (path / IMAGE_NAME).is_file():
        return Found([_scan(path.resolve() / IMAGE_NAME)], {})
    if cases := case_folders(path):
        images = [folder / IMAGE_NAME for folder in cases]
        missing = [image for image in images if not is_file(image)]
        problems = {i.parent.name: f"{i}: {_obstacle_or_missing(i)}" for i in missing}
        return Found([_scan(image) for image in images if image not in missing], problems)
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    volumes = [p for p in files if p.name.endswith(NIFTI)]
    if volumes:
        return _with_unique_names(volumes, len(files) - len(volumes))
    from kitsseg.data.io.dicom import find_series

    return find_series(path)


def _obstacle_or_missing(path: Path) -> str:
    problem = obstacle(path)
    return "is missing; fetch it" if problem is None else problem


def _scan(path: Path) -> Scan:
    ending = next(e for e in NIFTI if path.name.endswith(e))
    name = path.name.removesuffix(ending)
    if path.name == IMAGE_NAME and is_id(path.resolve().parent.name):
        name = path.resolve().parent.name
    channel = CHANNEL.fullmatch(name)
    return Scan(channel[1] if channel and channel[2] == "0000" else name, ending, path)


def _with_unique_names(volumes: list[Path], others: int) -> Found:
    """Return the volumes with unique names; a volume whose name is taken becomes a problem."""
    scans: dict[str, Scan] = {}
    problems: dict[str, str] = {}
    for path in volumes:
        scan = _scan(path)
        channel = CHANNEL.fullmatch(scan.name)
        if channel is not None and f"{channel[1]}_0000{scan.ending}" in {p.name for p in volumes}:
            problems[path.name] = f"{path}: is another channel; CT has only _0000"
        elif scan.name in scans:
            first = scans[scan.name].path.name
            problems[path.name] = (
                f"{path}: its results would have the same name as those of {first}; rename one"
            )
        else:
            scans[scan.name] = scan
    return Found(list(scans.values()), problems, others)
