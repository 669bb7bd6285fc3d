"""Select the cases to evaluate and pair each prediction with its ground truth."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kitsseg.data.case import is_id
from kitsseg.data.sources.kits import NUMBERS, CaseNumbers
from kitsseg.evaluation.prediction_files import PREDICTION_NAME, find_label_volumes

ALL, PREDICTED = "all", "predicted"


class LabelSource(Protocol):
    """The part of a data source that the selection uses."""

    @property
    def label_name(self) -> str: ...

    @property
    def numbers(self) -> CaseNumbers: ...


@dataclass(frozen=True)
class Pair:
    """The label volumes of a case; a prediction of None is scored as an empty one."""

    id: str
    prediction: Path | None
    truth: Path


@dataclass(frozen=True)
class Selection:
    """The cases to evaluate.

    Attributes:
        chosen: Ids of the requested cases.
        pairs: Label volumes of the cases that can be scored.
        missing: Ids of the cases without a prediction.
        problems: Why a case or file cannot be scored, by case id or file name.
    """

    chosen: list[str]
    pairs: list[Pair]
    missing: list[str]
    problems: dict[str, str]

    def raise_first_problem(self) -> None:
        """Raise ValueError if there is a problem."""
        for name, reason in self.problems.items():
            raise ValueError(f"{name}: {reason}")


def find_pairs(
    predictions: Path, truth: Path, source: LabelSource, cases: object, missing_is_empty: bool
) -> Selection:
    """Return the label volumes of the requested cases.

    Args:
        predictions: Folder of predicted label volumes.
        truth: Folder of ground-truth label volumes.
        source: Data source that names the label file and the valid case numbers.
        cases: Requested cases, see `parse_cases`.
        missing_is_empty: Whether to score a missing prediction as an empty one.

    Raises:
        ValueError: If a folder holds no label volumes or ``cases`` is invalid.
    """
    predicted, bad_predictions = find_label_volumes(predictions, (PREDICTION_NAME, source.label_name))
    truths, bad_truths = find_label_volumes(truth, (source.label_name,))
    if not predicted and not bad_predictions:
        raise ValueError(f"predictions={predictions}: holds no label volumes such as case_00042.nii.gz")
    if not truths and not bad_truths:
        raise ValueError(f"truth={truth}: holds no label volumes, nor case_XXXXX/{source.label_name}")
    chosen = choose(cases, [*predicted, *bad_predictions], [*truths, *bad_truths], source.numbers)
    problems = {
        name: reason
        for name, reason in (bad_truths | bad_predictions).items()
        if name in chosen or not is_id(name)
    }
    return pair(chosen, predicted, truths, problems, missing_is_empty)


def parse_cases(cases: object, numbers: CaseNumbers = NUMBERS) -> list[str] | str | Path:
    """Return a list of case ids, `ALL`, `PREDICTED` or the path of a run's ``split.json``.

    Args:
        cases: Value of the setting ``cases``.
        numbers: Valid case numbers.

    Raises:
        ValueError: If ``cases`` is none of these.
    """
    if cases in (ALL, PREDICTED):
        return str(cases)
    if isinstance(cases, str) and cases.endswith(".json"):
        return Path(cases).expanduser()
    try:
        return [f"case_{number:05d}" for number in numbers.choose(cases)]
    except ValueError as error:
        raise ValueError(f"{error}; or {ALL}, {PREDICTED} or a run's split.json") from None


def choose(
    cases: object, predicted: Iterable[str], known: Iterable[str], numbers: CaseNumbers = NUMBERS
) -> list[str]:
    """Return the sorted ids of the requested cases.

    Args:
        cases: Requested cases, see `parse_cases`.
        predicted: Names that have a prediction, readable or not. Names that are no case ids are ignored.
        known: Names that have a ground truth, treated alike.
        numbers: Valid case numbers.

    Raises:
        ValueError: If ``cases`` names a file that is not a split.
    """
    chosen = parse_cases(cases, numbers)
    if isinstance(chosen, list):
        return chosen
    if isinstance(chosen, Path):
        return _validation(chosen)
    names = {*predicted, *known} if chosen == ALL else set(predicted)
    return sorted(filter(is_id, names))


def _validation(path: Path) -> list[str]:
    try:
        return sorted(map(str, json.loads(path.read_text())["validation"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"cases={path}: is not the split.json of a run ({error})") from error


def pair(
    chosen: list[str],
    predictions: Mapping[str, Path],
    truths: Mapping[str, Path],
    problems: Mapping[str, str],
    missing_is_empty: bool,
) -> Selection:
    """Return the pairs of files, the cases without a prediction, and the problems.

    Args:
        chosen: Ids of the requested cases.
        predictions: Predicted label volumes by case id.
        truths: Ground-truth label volumes by case id.
        problems: Problems of the files found, by case id or file name.
        missing_is_empty: Whether a case without a prediction forms a pair.
    """
    selection = Selection(chosen, [], [], dict(problems))
    for case in chosen:
        if case in problems:
            continue
        if case not in truths:
            selection.problems[case] = "no ground truth; select cases that have one with cases="
            continue
        if case not in predictions:
            selection.missing.append(case)
            if not missing_is_empty:
                selection.problems[case] = "no prediction; missing=zero scores it as empty"
                continue
        selection.pairs.append(Pair(case, predictions.get(case), truths[case]))
    return selection
