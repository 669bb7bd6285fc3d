"""What an evaluation leaves: ``evaluation.json``, ``evaluation.csv``, and the table of means."""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kitsseg.data.labels import REGIONS
from kitsseg.evaluation.metrics import CaseFigures
from kitsseg.evaluation.stats import mean_interval
from kitsseg.system.files import write_json, write_text

VERSION = 1
JSON, CSV = "evaluation.json", "evaluation.csv"
# Title and name of what is given by region; the volume's error is one of three figures.
BY_REGION = {"Dice": "dice", "surface Dice": "surface_dice", "HD95 (mm)": "hd95_mm"}
POSTPROCESSED = "postprocessed"


@dataclass(frozen=True)
class Evaluation:
    """The figures of a folder of label volumes.

    Attributes:
        name: of what is evaluated.
        predictions, truth: the folders.
        settings: by which the figures were made.
        cases: figures by case (`kitsseg.evaluation.scores.score`), and the same of the post-processed prediction
            as ``postprocessed``.
        missing: the cases without a prediction.
        problems: why a case or a file gave no figures, by case or file.
    """

    name: str
    predictions: str
    truth: str
    settings: dict[str, Any]
    cases: CaseFigures
    missing: list[str]
    problems: dict[str, str]
    kitsseg: str
    version: int = field(default=VERSION)

    def write(self, folder: Path) -> None:
        """Both files, each whole or not at all, the JSON last: where it is, all is."""
        write_text(folder / CSV, comma_separated(self.cases, self.problems))
        write_json(folder / JSON, {**asdict(self), "summary": self.summary()})

    def summary(self) -> dict[str, Any]:
        """Means over cases, of the predictions as they are and after post-processing."""
        parts = {"as_predicted": summarise(self.cases.values())}
        processed = [case[POSTPROCESSED] for case in self.cases.values() if POSTPROCESSED in case]
        return parts | ({POSTPROCESSED: summarise(processed)} if processed else {})


def summarise(figures: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the cases that have a figure, and how many those are; lesions over all cases."""
    cases = list(figures)
    errors = {r: [case["volume_ml"][r]["error"] for case in cases] for r in REGIONS}
    out: dict[str, Any] = {
        key: {region: mean([case[key][region] for case in cases]) for region in REGIONS}
        for key in BY_REGION.values()
    }
    out["volume_error_ml"] = {region: mean(errors[region]) for region in REGIONS}
    out["absolute_volume_error_ml"] = {region: mean(np.abs(errors[region])) for region in REGIONS}
    names = ("truth", "found", "predicted", "false_positives")
    lesions = {name: sum(case["lesions"][name] for case in cases) for name in names}
    detected = [case["tumour_detected"] for case in cases if case["tumour_detected"] is not None]
    out["lesions"] = {
        **lesions,
        "sensitivity": lesions["found"] / lesions["truth"] if lesions["truth"] else None,
        "false_positives_per_case": lesions["false_positives"] / len(cases) if cases else None,
    }
    out["tumour_detected"] = {"cases": len(detected), "detected": sum(detected)}
    return out


def mean(values: Iterable[float | None]) -> dict[str, Any]:
    """The mean of the values that exist, its 95 % interval (None without), and their number."""
    array = np.array(list(values), np.float64)  # None becomes NaN
    known = array[~np.isnan(array)]
    if not known.size:
        return {"mean": None, "low": None, "high": None, "cases": 0}
    interval = {key: None if math.isnan(v) else v for key, v in asdict(mean_interval(known)).items()}
    return interval | {"cases": known.size}


def comma_separated(cases: CaseFigures, problems: Mapping[str, str]) -> str:
    """A row a case, in full precision; a case or file with a problem has that instead of figures."""
    rows = []
    for case in sorted({*cases, *problems}):
        row: dict[str, Any] = {"case": case}
        if case in cases:
            row |= _columns(cases[case], "")
            if POSTPROCESSED in cases[case]:
                row |= _columns(cases[case][POSTPROCESSED], f"{POSTPROCESSED}_")
        rows.append(row | {"problem": problems.get(case, "")})
    # The fullest row has all columns; a problem stands last.
    names = list(dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row))
    names = [*(name for name in names if name != "problem"), "problem"]
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _columns(figures: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """One case's figures, flat; what doesn't exist is empty."""
    flat = {f"{key}_{region}": figures[key][region] for key in BY_REGION.values() for region in REGIONS}
    for region in REGIONS:
        for part, value in figures["volume_ml"][region].items():
            flat[f"{part}_ml_{region}"] = value
    flat |= {f"lesions_{name}": value for name, value in figures["lesions"].items()}
    detected = figures["tumour_detected"]
    flat["tumour_detected"] = None if detected is None else int(detected)
    return {f"{prefix}{key}": "" if value is None else value for key, value in flat.items()}


def table(summary: Mapping[str, Any]) -> str:
    """The means for a terminal, with intervals; over how many cases, where not over all."""
    total = max((each["cases"] for each in summary["volume_error_ml"].values()), default=0)
    lines = [["", *REGIONS]]
    keys = {
        **BY_REGION,
        "volume error (ml)": "volume_error_ml",
        "|volume error| (ml)": "absolute_volume_error_ml",
    }
    for title, key in keys.items():
        digits = 3 if "dice" in key else 1
        lines.append([title, *(_cell(summary[key][region], digits, total) for region in REGIONS)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    ]
    lesions, detected = summary["lesions"], summary["tumour_detected"]
    sensitivity, false = lesions["sensitivity"], lesions["false_positives_per_case"]
    text.append(
        f"lesions: {lesions['found']} of {lesions['truth']} found"
        + ("" if sensitivity is None else f" (sensitivity {sensitivity:.3f})")
        + ("" if false is None else f", {false:.2f} false positives a case")
        + f"; a tumour was detected in {detected['detected']} of {detected['cases']} cases with one"
    )
    return "\n".join(text)


def _cell(mean: Mapping[str, Any], digits: int, total: int) -> str:
    if mean["mean"] is None:
        return "–"
    some = "" if mean["cases"] == total else f" ({mean['cases']} cases)"
    low, high = mean["low"], mean["high"]
    interval = "" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{mean['mean']:.{digits}f}{interval}{some}"
