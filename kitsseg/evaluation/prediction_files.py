"""Find label volumes and their case ids in a folder."""

from collections.abc import Sequence
from pathlib import Path

from kitsseg.data.case import LABEL_NAME, case_number, is_id, nifti_ending, volume_in
from kitsseg.system.obstacles import is_file, obstacle

PREDICTION_NAME = "prediction.nii.gz"


def find_label_volumes(
    folder: Path, names: Sequence[str] = (LABEL_NAME,)
) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the label volumes of a folder by case id, and the problems of unusable files.

    Args:
        folder: Folder of ``.nii.gz`` or ``.nii`` files, or of folders ``case_XXXXX`` as in KiTS19. Its
            ``data/`` or ``dataset/`` is searched if it holds neither.
        names: File names inside a case folder. The first one present is used.

    Returns:
        Paths by case id such as ``case_00042``, sorted; and one problem per unusable file, by case id
        or, if the name has none, by file name.

    Raises:
        ValueError: If the folder does not exist.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    found: dict[str, list[Path]] = {}
    problems: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if nifti_ending(path.name) and not path.is_dir() and path.name[0] != ".":
            number = case_number(path.name)
            if number is None:
                problems[path.name] = "no case id in the file name; rename it like case_00042.nii.gz"
            elif (why := obstacle(path)) is not None:
                problems[f"case_{number:05d}"] = f"{path}: {why}"
            else:
                found.setdefault(f"case_{number:05d}", []).append(path)
        elif is_id(path.name):
            inside = [volume_in(path, name) for name in names]
            inner = [file for file in inside if is_file(file)]
            found.setdefault(path.name, []).extend(inner[:1])
            blocked = [f"{file}: {why}" for file in inside if (why := obstacle(file))]
            if blocked and not inner:
                problems[path.name] = blocked[0]
    for case, paths in found.items():
        if len(paths) > 1:
            listed = " and ".join(str(path.relative_to(folder)) for path in paths)
            problems[case] = f"{folder}: {len(paths)} files for this case, {listed}; remove all but one"
    single = {case: paths[0] for case, paths in sorted(found.items()) if len(paths) == 1}
    for subfolder in (folder / "data", folder / "dataset"):  # a clone of KiTS19 or KiTS23
        if not single and not problems and subfolder.is_dir():
            return find_label_volumes(subfolder, names)
    return single, problems
