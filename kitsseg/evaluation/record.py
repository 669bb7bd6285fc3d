"""Results of an evaluation: ``evaluation.json``, ``evaluation.csv`` and the table of means."""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import kitsseg
from kitsseg.data.labels import KITS19, Labels
from kitsseg.evaluation.cases import Pair
from kitsseg.evaluation.metrics import CaseScores
from kitsseg.evaluation.stats import mean_interval, median_interval
from kitsseg.system.files import check_writable, fingerprint, write_csv, write_json
from kitsseg.system.provenance import commit

VERSION = 2  # since 2, the metrics in MEDIANS have an interval of the median
LOOKS = "test_looks.json"  # in the folder of a run
JSON, CSV = "evaluation.json", "evaluation.csv"
BY_REGION = {"Dice": "dice", "surface Dice": "surface_dice", "HD95 (mm)": "hd95_mm"}  # title: key
MEDIANS = {
    "HD95 (mm)": "hd95_mm",
    "volume error (ml)": "volume_error_ml",
    "|volume error| (ml)": "absolute_volume_error_ml",
}
POSTPROCESSED = "postprocessed"


def write(folder: Path, evaluation: Mapping[str, Any]) -> None:
    """Write both files atomically, the JSON last: if it exists, the results are complete."""
    rows = csv_rows(evaluation["cases"], evaluation["problems"])
    columns = max(rows, key=len, default={"problem": ""})  # the longest row has all columns
    write_csv(folder / CSV, columns, rows)
    write_json(folder / JSON, evaluation)


def provenance(predictions: Path, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return version and commit, and SHA-256 of checkpoints and files of the evaluated cases.

    The hashes of checkpoints, by their number, are empty unless `kitsseg.predict` wrote the predictions.
    """
    checkpoints = {}
    with suppress(OSError, ValueError, LookupError, TypeError):
        found = json.loads((predictions / "predict.json").read_text())["settings"]["checkpoints"]
        checkpoints = {str(number): str(sha256) for number, sha256 in enumerate(found, 1)}
    return {
        "environment": {"kitsseg": kitsseg.__version__, "commit": commit()},
        "checkpoints": checkpoints,
        "hashes": {
            pair.id: {"prediction": fingerprint(pair.prediction), "label": fingerprint(pair.truth)}
            for pair in pairs
            if pair.prediction is not None
        },
    }


def count_look(split: Path, cases: Sequence[str], predictions: Path) -> int:
    """Record that test cases are evaluated; return how often they have been, this time included.

    Each evaluation is an entry in ``test_looks.json`` beside ``split``, the ``split.json`` of a run.
    Entries of the runs in the same folder count if they have a case in common with these.
    """
    path = split.resolve().parent / LOOKS
    looks = {other: _read_looks(other) for other in {path, *path.parent.parent.glob(f"*/{LOOKS}")}}
    when = time.strftime("%Y-%m-%dT%H:%M:%S")
    looks[path].append({"time": when, "predictions": str(predictions), "cases": sorted(cases)})
    write_json(path, looks[path])
    return sum(not {*cases}.isdisjoint(look["cases"]) for found in looks.values() for look in found)


def check_looks(split: Path) -> None:
    """Raise `ValueError` or `OSError` if `count_look` cannot record an evaluation beside ``split``."""
    path = split.resolve().parent / LOOKS
    _read_looks(path)
    check_writable(path)


def _read_looks(path: Path) -> list[dict[str, Any]]:
    try:
        looks = json.loads(path.read_text()) if path.is_file() else []
        return [look for look in looks if iter(look["cases"])]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path}: is damaged ({error}); restore it from a copy") from error


def summarise(cases: CaseScores, labels: Labels = KITS19) -> dict[str, Any]:
    """Return the means over cases ``as_predicted`` and, if computed, ``postprocessed``."""
    summary = {"as_predicted": _means(list(cases.values()), labels.regions)}
    if processed := [case[POSTPROCESSED] for case in cases.values() if POSTPROCESSED in case]:
        summary[POSTPROCESSED] = _means(processed, labels.regions)
    return summary


def _means(cases: Sequence[Mapping[str, Any]], regions: Iterable[str]) -> dict[str, Any]:
    """Return each metric's mean over the cases where it is defined, and lesion counts over all cases.

    Metrics in `MEDIANS` have the median and its interval instead of an interval of the mean.
    """
    values = {k: {r: [case[k][r] for case in cases] for r in regions} for k in BY_REGION.values()}
    errors = {r: [case["volume_ml"][r]["error"] for case in cases] for r in regions}
    values["volume_error_ml"] = errors
    values["absolute_volume_error_ml"] = {r: list(map(abs, error)) for r, error in errors.items()}
    names = ("truth", "found", "predicted", "false_positives")
    lesions = {name: sum(case["lesions"][name] for case in cases) for name in names}
    detected = [case["detected"] for case in cases if case["detected"] is not None]
    return {
        **{
            k: {r: _average(v, k in MEDIANS.values()) for r, v in parts.items()}
            for k, parts in values.items()
        },
        "lesions": {
            **lesions,
            "sensitivity": lesions["found"] / lesions["truth"] if lesions["truth"] else None,
            "false_positives_per_case": lesions["false_positives"] / len(cases) if cases else None,
        },
        "detected": {"cases": len(detected), "detected": sum(detected)},
    }


def _average(values: ArrayLike, with_median: bool) -> dict[str, Any]:
    """Return the mean of the defined values, its 95 % interval and their number; None if undefined.

    With ``with_median``, the median is returned as well, and the interval is the interval of the median.
    """
    array = np.asarray(values, np.float64)  # None becomes NaN
    entry = asdict(mean_interval(array))
    if with_median:
        entry |= zip(("median", "low", "high"), median_interval(array), strict=True)
    known = {key: None if math.isnan(value) else value for key, value in entry.items()}
    return known | {"cases": int((~np.isnan(array)).sum())}


def csv_rows(cases: CaseScores, problems: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of ``evaluation.csv``: one per case, in full precision or with its problem."""
    rows = []
    for case in sorted({*cases, *problems}):
        scores = cases.get(case, {})
        columns = _columns(scores, "") | _columns(scores.get(POSTPROCESSED, {}), f"{POSTPROCESSED}_")
        rows.append({"case": case, **columns, "problem": problems.get(case, "")})
    return rows


def _columns(scores: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the metrics of a case by column; undefined ones are empty."""
    if not scores:
        return {}
    by_region = (
        (f"{key}_{region}", v) for key in BY_REGION.values() for region, v in scores[key].items()
    )
    flat = dict(by_region)
    volumes = scores["volume_ml"].items()
    flat |= {f"{part}_ml_{region}": ml for region, parts in volumes for part, ml in parts.items()}
    flat |= {f"lesions_{name}": value for name, value in scores["lesions"].items()}
    detected = scores["detected"]
    flat["detected"] = None if detected is None else int(detected)
    return {f"{prefix}{key}": "" if value is None else value for key, value in flat.items()}


def table(summary: Mapping[str, Any], target: str) -> str:
    """Return means and medians as text, with the number of cases where some are undefined.

    ``target`` is the region whose lesions are counted.
    """
    total = max(entry["cases"] for entry in summary["volume_error_ml"].values())
    regions = list(summary["dice"])
    titles = {title: (key, "mean") for title, key in BY_REGION.items() if "dice" in key}
    for title, key in MEDIANS.items():
        titles |= {f"{title}, median": (key, "median"), f"{title}, mean": (key, "mean")}
    lines = [["", *regions]]
    for title, (key, name) in titles.items():
        digits = 3 if "dice" in key else 1
        lines.append([title, *(_cell(summary[key][region], name, digits, total) for region in regions)])
    first, *widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join([head.ljust(first), *map(str.rjust, cells, widths)]) for head, *cells in lines]
    lesions, detected = summary["lesions"], summary["detected"]
    sensitivity, false = lesions["sensitivity"], lesions["false_positives_per_case"]
    text.append(
        f"lesions ({target}): {lesions['found']} of {lesions['truth']} found"
        + ("" if sensitivity is None else f" (sensitivity {sensitivity:.3f})")
        + ("" if false is None else f", {false:.2f} false positives per case")
        + f"; detected in {detected['detected']} of {detected['cases']} cases with lesions"
    )
    return "\n".join(text)


def _cell(entry: Mapping[str, Any], name: str, digits: int, total: int) -> str:
    """Return the ``mean`` or the ``median``; the interval belongs to the median where there is one."""
    if entry[name] is None:
        return "–"
    count = "" if entry["cases"] == total else f" ({entry['cases']} cases)"
    low, high = entry["low"], entry["high"]
    has_interval = low is not None and (name == "median" or "median" not in entry)
    interval = f" [{low:.{digits}f}, {high:.{digits}f}]" if has_interval else ""
    return f"{entry[name]:.{digits}f}{interval}{count}"
