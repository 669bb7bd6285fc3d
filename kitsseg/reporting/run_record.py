"""Read and write ``result.json``, the record of one run. Tables and reports use only these records."""

import csv
import json
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from kitsseg.data.labels import KITS19, Labels
from kitsseg.evaluation.metrics import SplitScores
from kitsseg.system.files import write_json

VERSION = 2
ADDED_IN_2 = {"curves", "clinical"}  # version 1 also lacks the voxel volume of each case
# Without labels, the record is of KiTS19's.
ADDED_LATER = {"labels", "window", "hashes", "checkpoints", "site"}
RESULT, STATUS = "result.json", "status.json"
EPOCHS = "epochs.csv"  # metrics of each case after each validation


@dataclass(frozen=True)
class Validated:
    """The metrics of the validation cases of a stage after each validation.

    Attributes:
        cases: ids of the cases.
        epochs: the epoch of each validation, from 0.
        values: ``[cases, validations]`` by the name of the metric, NaN where undefined.
    """

    cases: list[str]
    epochs: list[int]
    values: dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Record:
    """The results of one run.

    Attributes:
        model: name of the model configuration, such as ``attn_unet``.
        overrides: command-line overrides without the seed.
        before: metrics of the best stage-one weights; ``after`` fine-tuning, None without.
        split: case ids by part, ``train`` and ``validation``.
        epochs: for each stage, the number of epochs (``run``) and the best epoch (``best``).
        seconds: duration of each phase.
        curves: for each stage, one dict per epoch: ``epoch`` from 0, ``train/loss``, ``val/loss``, ….
        validated: the metrics of each validation by stage, from ``epochs.csv``; empty if unknown.
        clinical: clinical fields by validation case; empty if unknown.
        labels: classes and regions as plain values, see `label_set`.
        window: ``low_hu``, ``high_hu``, ``mean_hu`` and ``sd_hu``; empty if unknown.
        hashes: for each case, the SHA-256 of its ``image`` and ``label``; empty if unknown.
        checkpoints: SHA-256 of the evaluated weights of each stage; empty if unknown.
        site: where the cases come from, see `kitsseg.reporting.sites`; empty if there is one site.
    """

    name: str
    model: str
    seed: int
    overrides: list[str]
    before: SplitScores
    after: SplitScores | None
    split: dict[str, list[str]]
    epochs: dict[str, dict[str, Any]]
    config: dict[str, Any]
    environment: dict[str, Any]
    seconds: dict[str, float]
    curves: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    validated: dict[str, Validated] = field(default_factory=dict, compare=False, repr=False)
    clinical: dict[str, dict[str, Any]] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=KITS19.as_dict)
    window: dict[str, float] = field(default_factory=dict)
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    checkpoints: dict[str, str] = field(default_factory=dict)
    site: str = ""
    version: int = VERSION

    @property
    def label_set(self) -> Labels:
        """The classes and the scored regions."""
        return Labels(**self.labels)

    @property
    def final(self) -> SplitScores:
        """The metrics of the last stage."""
        return self.before if self.after is None else self.after

    @property
    def is_trial(self) -> bool:
        """Whether it is a ``fast_dev_run`` of a few batches."""
        return bool(self.config.get("trainer", {}).get("fast_dev_run"))

    def write(self, folder: Path) -> None:
        """Write ``folder/result.json`` atomically."""
        write_json(folder / RESULT, asdict(replace(self, validated={})))


class _CaseEntry(BaseModel):
    """The metrics of a case that tables need."""

    model_config = ConfigDict(strict=True)
    dice: dict[str, Annotated[float, Field(ge=0, le=1)] | None]
    voxels: dict[str, Annotated[list[int], Field(min_length=3, max_length=3)]] = {}
    voxel_ml: float = 0  # which version 1 lacks


_SCORES = dict[str, dict[str, _CaseEntry]]
_TYPES = get_type_hints(Record) | {"before": _SCORES, "after": _SCORES | None}
del _TYPES["validated"]  # which is in another file
_REQUIRED: dict[str, Any] = {name: (kind, ...) for name, kind in _TYPES.items()}
_FIELDS = create_model("Fields", __config__=ConfigDict(strict=True), **_REQUIRED)


def read(path: Path) -> Record:
    """Return the record stored in ``path``.

    Raises:
        ValueError: the file is not a record or has an unsupported version.
    """
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a record of a run ({error})") from error
    return replace(parse(values, str(path)), validated=_validated(path.parent))


def parse(values: Any, where: str) -> Record:
    """Return the record with these plain values; ``where`` names their origin in error messages.

    Raises:
        ValueError: they are not a record or have an unsupported version.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where}: not a record of a run")
    if (version := values.get("version")) not in (1, VERSION):
        raise ValueError(
            f"{where}: record version {version} is not supported (supported: 1, {VERSION}); run the job "
            "again or use the kitsseg that wrote it"
        )
    optional = ADDED_LATER | (ADDED_IN_2 if version == 1 else set())
    if missing := set(_TYPES) - set(values) - optional:
        raise ValueError(f"{where}: missing {', '.join(sorted(missing))}; run the job again")
    record = Record(**{name: value for name, value in values.items() if name in _TYPES})
    check(record, where, "run the job again")
    return record


def check(record: Record, where: str, remedy: str) -> None:
    """Raise `ValueError` if a field of a record that was read from ``where`` cannot be right."""
    try:
        _FIELDS.model_validate(vars(record))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {place}: {first['msg']}; {remedy}") from error
    try:
        regions = Labels(**record.labels).table_regions
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: labels: {error}; {remedy}") from error
    for scores in (record.before, record.after if record.after is not None else {}):
        for case, entry in chain.from_iterable(part.items() for part in scores.values()):
            if lacking := [region for region in regions if region not in entry["dice"]]:
                raise ValueError(f"{where}: {case}: no Dice of {', '.join(lacking)}; {remedy}")


def read_epochs(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a run's ``epochs.csv``; none if the file does not exist."""
    path = folder / EPOCHS
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _validated(folder: Path) -> dict[str, Validated]:
    """Return the metrics of each validation by stage; `ValueError` if ``epochs.csv`` is damaged."""
    stages: dict[str, Validated] = {}
    try:
        rows = read_epochs(folder)
        for stage in dict.fromkeys(row["stage"] for row in rows):
            own = [row for row in rows if row["stage"] == stage]
            cases = {case: i for i, case in enumerate(sorted({row["case"] for row in own}))}
            epochs = {row["step"]: int(row["epoch"]) for row in own}
            steps = {step: i for i, step in enumerate(epochs)}
            values = {}
            for name in [name for name in own[0] if name.startswith("val/")]:
                values[name] = np.full((len(cases), len(steps)), np.nan)
                for row in own:
                    place = cases[row["case"]], steps[row["step"]]
                    values[name][place] = float(row[name] or "nan")
            stages[stage] = Validated(list(cases), list(epochs.values()), values)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{folder / EPOCHS}: is damaged ({error!r}); remove it") from error
    return stages


def job_order(folder: Path) -> tuple[int, str]:
    """Return the sort key of a job folder: its number in the sweep, then its path."""
    try:
        number = json.loads((folder / STATUS).read_text()).get("number")
    except (OSError, ValueError, AttributeError):
        number = None
    if not isinstance(number, int):  # older versions stored the number in the name: 0_model=unet
        first = folder.name.split("_")[0]
        number = int(first) if first.isdigit() else -1
    return number, str(folder)
