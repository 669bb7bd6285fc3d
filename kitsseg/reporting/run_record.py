"""Read and write ``result.json``, the record of one run. Tables and reports use only these records."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from kitsseg.data.labels import KITS19, Labels
from kitsseg.evaluation.metrics import SplitScores
from kitsseg.system.files import write_json

VERSION = 2
ADDED_IN_2 = {"curves", "clinical"}  # version 1 also lacks the voxel volume of each case
ADDED_LATER = {"labels", "window", "optimism"}  # without labels, the record is of KiTS19's
RESULT, STATUS = "result.json", "status.json"


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
        optimism: for each stage, by how much the choice of the epoch raised the mean validation Dice of
            each region (`kitsseg.evaluation.optimism`); without regions for which this is unknown.
        clinical: clinical fields by validation case; empty if unknown.
        labels: classes and regions as plain values, see `label_set`.
        window: ``low_hu``, ``high_hu``, ``mean_hu`` and ``sd_hu``; empty if unknown.
    """

    name: str
    model: str
    seed: int
    overrides: list[str]
    before: SplitScores
    after: SplitScores | None
    split: dict[str, list[str]]
    epochs: dict[str, Any]
    config: dict[str, Any]
    environment: dict[str, Any]
    seconds: dict[str, float]
    curves: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    optimism: dict[str, dict[str, float]] = field(default_factory=dict)
    clinical: dict[str, dict[str, Any]] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=KITS19.as_dict)
    window: dict[str, float] = field(default_factory=dict)
    version: int = VERSION

    @property
    def label_set(self) -> Labels:
        """The classes and the scored regions."""
        return Labels(**self.labels)

    @property
    def final(self) -> SplitScores:
        """The metrics of the last stage."""
        return self.before if self.after is None else self.after

    def write(self, folder: Path) -> None:
        """Write ``folder/result.json`` atomically."""
        write_json(folder / RESULT, asdict(self))


def read(path: Path) -> Record:
    """Return the record stored in ``path``.

    Raises:
        ValueError: the file is not a record or has an unsupported version.
    """
    try:
        values = json.loads(path.read_text())
        version = values.get("version")
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not a record of a run ({error})") from error
    if version not in (1, VERSION):
        raise ValueError(
            f"{path}: record version {version} is not supported (supported: 1, {VERSION}); run the job "
            "again or use the kitsseg that wrote it"
        )
    names = {f.name for f in fields(Record)}
    optional = ADDED_LATER | (ADDED_IN_2 if version == 1 else set())
    if missing := names - set(values) - optional:
        raise ValueError(f"{path}: missing {', '.join(sorted(missing))}; run the job again")
    record = Record(**{name: value for name, value in values.items() if name in names})
    try:
        Labels(**record.labels)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: labels: {error}; run the job again") from error
    return record


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
