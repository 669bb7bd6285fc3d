"""Label volumes of any origin: which file is of which case."""

from collections.abc import Sequence
from pathlib import Path

from kitsseg.data.case import CASE_FILE, LABEL_NAME, is_id
from kitsseg.system.obstacles import is_there, obstacle

PREDICTION_NAME = "prediction.nii.gz"


def find_masks(
    folder: Path, names: Sequence[str] = (LABEL_NAME,)
) -> tuple[dict[str, Path], dict[str, str]]:
    """The label volumes in a folder: files of their own, or in a folder a case as in KiTS19.

    Args:
        folder: of ``.nii.gz`` or ``.nii`` files or of folders ``case_XXXXX``, itself or its ``data/``
            or ``dataset/``.
        names: of the file in a case's folder; the first that is there is taken.

    Returns:
        Paths by case id such as ``case_00042``, sorted, and a problem for each file that can't be used,
        by case id or, without one, by file name.

    Raises:
        ValueError: there's no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there's no such folder")
    found: dict[str, list[Path]] = {}
    problems: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if is_there(path) and path.name.endswith((".nii", ".nii.gz")) and path.name[0] != ".":
            match = CASE_FILE.fullmatch(path.name)
            if match is None:
                problems[path.name] = "no case id in the file's name; name it like case_00042.nii.gz"
            else:
                found.setdefault(f"case_{int(match[1]):05d}", []).append(path)
        elif is_id(path.name):
            inner = [path / name for name in names if is_there(path / name)]
            found.setdefault(path.name, []).extend(inner[:1])
            blocked = [f"{path / name}: {said}" for name in names if (said := obstacle(path / name))]
            if blocked and not inner:
                problems[path.name] = blocked[0]
    for case, paths in found.items():
        if len(paths) > 1:
            listed = " and ".join(str(path.relative_to(folder)) for path in paths)
            problems[case] = f"{folder} holds {len(paths)} files of it, {listed}; leave one"
    single = {case: each[0] for case, each in sorted(found.items()) if len(each) == 1}
    for below in (folder / "data", folder / "dataset"):  # a checkout of KiTS19 or KiTS23
        if not single and not problems and below.is_dir():
            return find_masks(below, names)
    return single, problems
