"""Find label volumes, select the cases to evaluate and pair each prediction with its ground truth."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kitsseg.data.case import LABEL_NAME, case_number, is_id, nifti_ending, volume_in
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.sources.kits import Kits19
from kitsseg.data.sources.nnunet import spelled
from kitsseg.data.sources.source import Source
from kitsseg.data.split_part import parse_part, read_part
from kitsseg.system.obstacles import is_file, obstacle

ALL, PREDICTED = "all", "predicted"
PREDICTION_NAME = "prediction.nii.gz"


class Pair(NamedTuple):
    """The label volumes of a case; a prediction of None is scored as an empty one."""

    id: str
    prediction: Path | None
    truth: Path


def find_pairs(
    predictions: Path,
    truth: Path,
    source: Source,
    cases: object,
    missing_is_empty: bool,
    labels: Labels = KITS19,
) -> tuple[list[str], list[Pair], list[str], dict[str, str]]:
    """Return the requested cases, their label volumes, cases without a prediction, and problems.

    ``source`` finds the ground truth. See `parse_selection` for ``cases``. Problems hold the reason why
    a case cannot be scored, by case id, or by file name if the name contains no id.
    """
    names = (source.label_name,) if isinstance(source, Kits19) else ()
    if names:
        truths, bad_truths = find_label_volumes(truth, names)
        known = set(truths)
    else:
        files, bad_truths = {case.id: case.label for case in source.cases(truth, labels)}, {}
        truths, known = {name: path for name, path in files.items() if path is not None}, set(files)
    predicted, bad_predictions = find_label_volumes(predictions, (PREDICTION_NAME, *names), known)
    if not predicted | bad_predictions:
        raise ValueError(f"predictions={predictions}: holds no label volumes such as case_00042.nii.gz")
    if not truths | bad_truths:
        if (truth / "dataset.json").is_file():
            raise ValueError(f"truth={truth}: has nnU-Net's layout; set source=nnunet labels=nnunet")
        layout = "".join(f", nor case_XXXXX/{name}" for name in names)
        raise ValueError(f"truth={truth}: holds no label volumes{layout}")
    chosen = parse_selection(cases, source)
    if isinstance(chosen, str):
        others = {*truths, *bad_truths} if chosen == ALL else set()
        chosen = sorted(n for n in {*predicted, *bad_predictions, *others} if not nifti_ending(n))
    bad = bad_truths | bad_predictions
    problems = {name: why for name, why in bad.items() if name in chosen or nifti_ending(name)}
    usable = [case for case in chosen if case not in bad]
    for case in usable:
        if case not in truths:
            problems[case] = "no ground truth; use cases= to select cases with ground truth"
        elif case not in predicted and not missing_is_empty:
            problems[case] = "no prediction; missing=zero scores it as empty"
    missing = [case for case in usable if case in truths and case not in predicted]
    pairs = [Pair(c, predicted.get(c), truths[c]) for c in usable if c not in problems]
    return chosen, pairs, missing, problems


def prediction_values(
    folder: Path, stored: Mapping[int, int], labels: Labels = KITS19
) -> Mapping[int, int]:
    """Return the class id of each value in predicted label volumes.

    kitsseg writes class ids. Other programs write the values of the data set's label files, of which
    ``stored`` holds the class ids. Raises `ValueError` if kitsseg wrote a class of ``labels`` with
    another id.
    """
    of_run = (f for f in (folder, folder.parent) if f.name == "predictions")  # the second of stage one
    records = [folder / "predict.json", *(f.parent / "result.json" for f in of_run)]
    if (path := next(filter(is_file, records), None)) is None:
        return stored
    try:
        written = (json.loads(path.read_text(encoding="utf-8")).get("labels") or {}).get("classes", [])
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: is damaged ({error}); remove it, or predict again") from error
    ids = {spelled(name): number for number, name in enumerate(labels.classes)}
    for number, name in enumerate(written):
        if (read := ids.get(spelled(name), number)) != number:
            raise ValueError(
                f"{path}: value {number} is {name}, but in the labels {name} is class {read}; set the "
                "labels of the checkpoint"
            )
    return {number: number for number in range(len(labels.classes))}


def parse_selection(cases: object, source: Source) -> list[str] | str:
    """Return the case ids that the setting ``cases`` selects, or `ALL` or `PREDICTED`.

    The path of a run's ``split.json`` selects its validation cases, and with ``:test`` its test cases.
    Raises `ValueError` for other text.
    """
    if cases in (ALL, PREDICTED):
        return str(cases)
    if (found := parse_part(cases)) is not None:
        return read_part(*found)
    try:
        return source.choose(cases)
    except ValueError as error:
        raise ValueError(f"{error}; or {ALL}, {PREDICTED} or a run's split.json") from None


def find_label_volumes(
    folder: Path, names: Sequence[str] = (LABEL_NAME,), known: Collection[str] = ()
) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the label volumes of a folder by case id, and the problems of unusable files.

    The folder holds ``.nii.gz`` or ``.nii`` files, or folders ``case_XXXXX`` as in KiTS19, in which the
    first existing file of ``names`` is used. Files and folders may also have the names of ``known``
    cases. If the folder holds neither, its ``data/`` or ``dataset/`` is searched. The problem of a file
    without a case id is stored by file name.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    found: dict[str, list[Path]] = {}
    problems: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if nifti_ending(path.name) and not path.is_dir() and path.name[0] != ".":
            name, number = path.name.removesuffix(nifti_ending(path.name) or ""), case_number(path.name)
            if name not in known and number is None:
                problems[path.name] = "no case id in the file name; rename it like case_00042.nii.gz"
                continue
            case, files = name if name in known else f"case_{number:05d}", [path]
        elif is_id(path.name) or path.name in known:
            case, files = path.name, [volume_in(path, name) for name in names]
        else:
            continue
        present = [file for file in files if is_file(file)]
        found.setdefault(case, []).extend(present[:1])
        blocked = [f"{file}: {why}" for file in files if (why := obstacle(file))]
        if blocked and not present:
            problems[case] = blocked[0]
    for case, paths in found.items():
        if len(paths) > 1:
            listed = " and ".join(str(path.relative_to(folder)) for path in paths)
            problems[case] = f"{folder}: {len(paths)} files for this case, {listed}; remove all but one"
    single = {case: paths[0] for case, paths in sorted(found.items()) if len(paths) == 1}
    for subfolder in (folder / "data", folder / "dataset"):  # a clone of KiTS19 or KiTS23
        if not single and not problems and subfolder.is_dir():
            return find_label_volumes(subfolder, names, known)
    return single, problems
