"""The record of one run, ``result.json``: written once, atomically; all comparisons read only it."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from kitsseg.evaluation.metrics import SplitScores
from kitsseg.system.files import write_json

VERSION = 2
# Version 1 had no curves, no clinical fields and no volume of a voxel: they are missing, not guessed.
READABLE = (1, VERSION)
ADDED: dict[str, Any] = {"curves": {}, "clinical": {}}
RESULT, STATUS = "result.json", "status.json"


@dataclass(frozen=True)
class Record:
    """What a finished run leaves to be compared.

    Attributes:
        name: of the experiment.
        model: the chosen model configuration, such as ``attn_unet``.
        seed: of the run.
        overrides: what else the command line set, without the seed.
        before: figures of stage one's best weights on both parts of the split.
        after: of stage two's; None without fine-tuning.
        split: the case ids that trained and validated.
        epochs: of each stage, how many ran and the number of the best.
        config: the resolved configuration.
        environment: versions, commit, device, precision.
        seconds: time of each phase.
        curves: of each stage, a dict an epoch: its number from 0, ``train/loss``, ``val/loss``, ….
        clinical: fields of each validation case by which it can be grouped; empty if none are known.
        version: of the file that it was read from.
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
    clinical: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = field(default=VERSION)

    @property
    def final(self) -> SplitScores:
        """The figures of the run's last stage."""
        return self.before if self.after is None else self.after

    def write(self, folder: Path) -> None:
        """Write ``folder/result.json`` whole or not at all."""
        write_json(folder / RESULT, asdict(self))


def read(path: Path) -> Record:
    """The record in ``path``.

    Raises:
        ValueError: it isn't a record, or one of another version.
    """
    try:
        values = json.loads(path.read_text())
        version = values.get("version")
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: is not a record of a run ({error})") from error
    if version not in READABLE:
        raise ValueError(
            f"{path}: is a record of version {version}; this kitsseg reads "
            f"{' and '.join(map(str, READABLE))}: run the job again or use the kitsseg that wrote it"
        )
    known = {f.name for f in fields(Record)}
    if version == 1:
        values = {**ADDED, **values}
    if missing := known - set(values):
        raise ValueError(f"{path}: lacks {', '.join(sorted(missing))}; run the job again")
    return Record(**{name: values[name] for name in known})


def find(folder: Path) -> list[Path]:
    """The records below ``folder``, in the order of their jobs."""
    return sorted(folder.rglob(RESULT), key=lambda path: order(path.parent))


def order(folder: Path) -> tuple[int, str]:
    """By which a sweep's jobs are sorted: the number that the job had in it, then the folder's name."""
    try:
        number = json.loads((folder / STATUS).read_text()).get("number")
    except (OSError, ValueError, AttributeError):
        number = None
    if not isinstance(number, int):  # an older kitsseg's: 0_model=unet
        first = folder.name.split("_")[0]
        number = int(first) if first.isdigit() else -1
    return number, str(folder)
