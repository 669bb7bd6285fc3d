"""Which cases are evaluated: ``cases`` of `kitsseg.evaluate`, and the two files of each."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kitsseg.data.case import is_id
from kitsseg.data.sources.case_numbers import Numbers
from kitsseg.data.sources.kits import NUMBERS

ALL, PREDICTED = "all", "predicted"


@dataclass(frozen=True)
class Pair:
    """A case and its label volumes; without a prediction it is scored as an empty one."""

    id: str
    prediction: Path | None
    truth: Path


def parse_chosen(cases: object, numbers: Numbers = NUMBERS) -> list[str] | str | Path:
    """The ids of a list, `ALL`, `PREDICTED` or the path of a run's ``split.json``.

    Args:
        numbers: the cases that there are.

    Raises:
        ValueError: it's something else.
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
    cases: object, predicted: Iterable[str], known: Iterable[str], numbers: Numbers = NUMBERS
) -> list[str]:
    """The ids of the cases that should have figures, sorted.

    Args:
        cases, numbers: as in `parse_chosen`.
        predicted: ids that have a prediction, usable or not; names that are no ids don't count.
        known: the same of the truth.

    Raises:
        ValueError: ``cases`` is a file that isn't a split.
    """
    chosen = parse_chosen(cases, numbers)
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
        raise ValueError(f"cases={path} is not the split.json of a run ({error})") from error


def pair(
    chosen: Iterable[str],
    predictions: Mapping[str, Path],
    truths: Mapping[str, Path],
    problems: Mapping[str, str],
    missing_is_empty: bool,
) -> tuple[list[Pair], list[str], dict[str, str]]:
    """The pairs of files, the cases without a prediction, and a problem for all that have no pair.

    Args:
        chosen: ids that should have figures.
        predictions, truths: files by id.
        problems: of the files that were found, by id or name.
        missing_is_empty: whether a case without a prediction makes a pair.
    """
    pairs, missing, said = [], [], dict(problems)
    for case in chosen:
        if case in problems:
            continue
        if case not in truths:
            said[case] = "there's no truth for it; choose the cases that have one with cases="
            continue
        if case not in predictions:
            missing.append(case)
            if not missing_is_empty:
                said[case] = "there's no prediction of it; missing=zero scores it as an empty one"
                continue
        pairs.append(Pair(case, predictions.get(case), truths[case]))
    return pairs, missing, said


REMEDY = "write it on the grid of the case's own image"
AGAIN = "write it again"  # a prediction, which nobody can fetch
# A case's figures, or why there are none.
Scored = tuple[dict[str, Any] | None, str]


def score_pair(
    each: Pair,
    classes: Sequence[int],
    tolerance_mm: Mapping[str, float],
    matching: Any,
    postprocess: Callable[[Any, Sequence[float]], Any] | None,
) -> Scored:
    """The figures of one case, as predicted and ``postprocessed``; or the problem in one line.

    ``classes[stored]`` is the class id that a number in either file means.
    """
    from kitsseg.data.io.nifti import check_same_grid, read_mask
    from kitsseg.evaluation.scores import score

    try:
        truth = read_mask(each.truth, classes)
        spacing_mm = truth.layout.spacing_mm
        if each.prediction is None:
            label = np.zeros_like(truth.label)
        else:
            prediction = read_mask(each.prediction, classes, AGAIN)
            check_same_grid(each.prediction, prediction.layout, truth.layout, "truth", REMEDY)
            label = prediction.label
        figures = score(label, truth.label, spacing_mm, tolerance_mm, matching)
        if postprocess is not None:
            cleaned = postprocess(label, spacing_mm)
            figures["postprocessed"] = score(cleaned, truth.label, spacing_mm, tolerance_mm, matching)
    except ValueError as error:
        return None, str(error)
    except MemoryError:
        return None, f"{each.prediction}: doesn't fit into memory; set workers=1"
    return figures, ""
