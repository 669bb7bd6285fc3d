"""CT volumes of any origin: which files are images, and what their results will be called."""

import re
from pathlib import Path

from kitsseg.data.case import IMAGE_NAME, case_folders, is_id
from kitsseg.data.io.scan import Found, Scan
from kitsseg.system.obstacles import is_there, obstacle

NIFTI = (".nii.gz", ".nii")
CHANNEL = re.compile(r"(.+)_(\d{4})")  # nnU-Net's, at the end of a name


def find_images(path: Path) -> Found:
    """The volumes at ``path``.

    Args:
        path: a NIfTI file; a folder of them, with nnU-Net's ``_0000`` or without; KiTS19, or one of its
            cases; else a folder with DICOM series, however deep. Other files are left alone.

    Raises:
        ValueError: there are none.
    """
    if path.is_file():
        if not path.name.endswith(NIFTI):
            raise ValueError(f"{path}: is neither .nii nor .nii.gz; of DICOM files, give the folder")
        return Found([_scan(path)], {})
    if not path.is_dir():
        raise ValueError(f"{path}: there's no such file or folder")
    if is_id(path.resolve().name) and (path / IMAGE_NAME).is_file():
        return Found([_scan(path.resolve() / IMAGE_NAME)], {})
    if cases := case_folders(path):
        images = [folder / IMAGE_NAME for folder in cases]
        missing = [image for image in images if not is_there(image)]
        problems = {i.parent.name: f"{i}: {_obstacle_or_missing(i)}" for i in missing}
        return Found([_scan(image) for image in images if image not in missing], problems)
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    volumes = [p for p in files if p.name.endswith(NIFTI)]
    if volumes:
        return _named_apart(volumes, len(files) - len(volumes))
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


def _named_apart(volumes: list[Path], others: int) -> Found:
    """Each volume with a name of its own; those whose results would get another's name are problems."""
    scans: dict[str, Scan] = {}
    problems: dict[str, str] = {}
    for path in volumes:
        scan = _scan(path)
        channel = CHANNEL.fullmatch(scan.name)
        if channel is not None and f"{channel[1]}_0000{scan.ending}" in {p.name for p in volumes}:
            problems[path.name] = f"{path}: is a further channel; CT has one, _0000"
        elif scan.name in scans:
            first = scans[scan.name].path.name
            problems[path.name] = f"{path}: its results would be named as {first}'s; rename one"
        else:
            scans[scan.name] = scan
    return Found(list(scans.values()), problems, others)
