"""What each command's config holds: plain values with their types, components, and ranges.

A component is an open dict; the signature of its ``_target_`` is its schema, and its class owns its
ranges. Checked here is what no class stands for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from kitsseg.components import Section
from kitsseg.labels import REGIONS
from kitsseg.signatures import has_opaque, one_line
from kitsseg.tracking.extras import missing


@dataclass
class PathsConfig:
    """Where things lie."""

    data: str = MISSING
    output: str = MISSING


@dataclass
class PrepareConfig:
    """The root of ``conf/prepare.yaml``."""

    paths: PathsConfig = field(default_factory=PathsConfig)
    data: dict[str, Any] = MISSING


@dataclass
class VerifyConfig:
    """The root of ``conf/verify.yaml``."""

    root: str = MISSING
    cases: Any = None
    workers: int = MISSING
    report: str | None = None
    source: dict[str, Any] = MISSING


@dataclass
class DownloadConfig:
    """The root of ``conf/download.yaml``."""

    root: str = MISSING
    cases: Any = MISSING
    workers: int = MISSING
    check: bool = MISSING
    labels_from: str | None = None
    imaging_revision: str = MISSING
    labels_revision: str = MISSING
    imaging_url: str = MISSING
    labels_url: str = MISSING
    clinical_url: str = MISSING
    timeout_s: float = MISSING
    retries: int = MISSING
    backoff_s: float = MISSING


@dataclass
class ToleranceConfig:
    """Of the surface Dice, in mm, by region."""

    kidney: float = MISSING
    tumour: float = MISSING
    kidney_label: float = MISSING


@dataclass
class EvaluateConfig:
    """The root of ``conf/evaluate.yaml``."""

    predictions: str = MISSING
    truth: str = MISSING
    output: str = MISSING
    source: dict[str, Any] = MISSING
    name: str | None = None
    cases: Any = MISSING
    missing: str = MISSING
    strict: bool = MISSING
    workers: int = MISSING
    tolerance_mm: ToleranceConfig = field(default_factory=ToleranceConfig)
    lesions: dict[str, Any] = MISSING
    postprocess: dict[str, Any] | None = None


@dataclass
class ReportConfig:
    """The root of ``conf/report.yaml``."""

    runs: Any = MISSING
    output: str | None = None


@dataclass
class DashboardConfig:
    """The root of ``conf/dashboard.yaml``."""

    runs: str = MISSING
    project: str | None = None
    entity: str | None = None
    offline: bool = MISSING
    output: str | None = None


@dataclass
class PredictConfig:
    """The root of ``conf/predict.yaml``."""

    checkpoint: Any = MISSING
    input: str = MISSING
    output: str = MISSING
    cases: Any = None
    mirror_axes: list[int] = MISSING
    submission: bool = MISSING
    skip_existing: bool = MISSING
    probabilities: bool = MISSING
    uncertainty: bool = MISSING
    quicklook: bool = MISSING
    dicom_seg: bool = MISSING
    offset_hu: int = MISSING
    device: str = MISSING
    precision: str = MISSING
    trusted: list[str] = MISSING
    postprocess: dict[str, Any] | None = None


@dataclass
class ExportConfig:
    """The root of ``conf/export.yaml``."""

    checkpoint: str = MISSING
    output: str = MISSING
    formats: list[str] = MISSING
    trusted: list[str] = MISSING


@dataclass
class CheckpointConfig:
    """Which epoch's weights are the result of a stage: the best by what is logged as `monitor`."""

    monitor: str = MISSING
    mode: str = MISSING


@dataclass
class TrainConfig:
    """The root of ``conf/train.yaml``. Components are open dicts: ``_target_`` is their schema."""

    name: str = MISSING
    seed: int = MISSING
    channels_last: bool = MISSING
    compile: bool = MISSING
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    mirror_axes: list[int] = MISSING
    shallow: list[str] | None = None
    paths: PathsConfig = field(default_factory=PathsConfig)
    data: dict[str, Any] = MISSING
    split: dict[str, Any] = MISSING
    window: dict[str, Any] = MISSING
    augmentation: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    loss: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    scheduler: dict[str, Any] = MISSING
    finetune: dict[str, Any] | None = None
    trainer: dict[str, Any] = MISSING
    logger: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)


class Command(NamedTuple):
    """The schema of a command's root, its components in the order of building, and what is left."""

    schema: type
    sections: Mapping[str, Section]
    check: Callable[[dict[str, Any], dict[str, Any]], list[str]]


def _check_train(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """What concerns more than one section, or none."""
    problems = []
    seed = plain.get("seed")
    if type(seed) is int and not 0 <= seed < 2**32:
        problems.append(f"seed: {seed} must lie in [0, 2**32)")
    allowed = {
        "mode": ["min", "max"],
        "monitor": ["val/loss", *(f"val/{region}_dice" for region in REGIONS)],
    }
    for name, value in (plain.get("checkpoint") or {}).items():
        if type(value) is str and value not in allowed.get(name, [value]):
            problems.append(f"checkpoint.{name}: {value} must be one of {', '.join(allowed[name])}")
    problems += _check_mirror_axes(plain)
    loggers = plain.get("logger")
    problems += missing(loggers) if isinstance(loggers, dict) else []
    frozen = getattr(built.get("finetune"), "frozen", None)
    if frozen is not None and "model" in built:
        from kitsseg.finetune import check_frozen

        try:
            check_frozen(built["model"], frozen)
        except ValueError as error:
            problems.append(one_line(error))
    return problems


def _check_mirror_axes(plain: dict[str, Any]) -> list[str]:
    axes = plain.get("mirror_axes")
    if isinstance(axes, list) and (not set(axes) <= {0, 1} or len(set(axes)) < len(axes)):
        return [f"mirror_axes: {axes} may hold 0 (rows) and 1 (columns), each once"]
    return []


def _check_predict(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    problems = _check_cases(plain) if plain.get("cases") is not None else []
    problems += _check_mirror_axes(plain) + _outside(plain, {"offset_hu": (-32768, 32767)})
    paths = plain.get("checkpoint")
    listed = paths if isinstance(paths, list) else [paths]
    if not any(has_opaque(paths)) and not (listed and all(type(path) is str for path in listed)):
        problems.append(f"checkpoint: expected a file or a list of files, got {paths!r}")
    precision, allowed = plain.get("precision"), ("auto", "32-true", "bf16-mixed", "16-mixed")
    if type(precision) is str and precision not in allowed:
        problems.append(f"precision: {precision} must be one of {', '.join(allowed)}")
    return problems


def _check_export(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    formats, allowed = plain.get("formats"), ["onnx", "pt2"]
    if isinstance(formats, list) and not (formats and set(formats) <= set(allowed)):
        return [f"formats: {formats} may hold {', '.join(allowed)}, and must hold one"]
    return []


def _check_verify(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    return (_check_cases(plain) if plain.get("cases") is not None else []) + _outside(plain, WORKERS)


def _check_cases(plain: dict[str, Any]) -> list[str]:
    from kitsseg.data.kits19 import parse_cases

    cases = plain.get("cases")
    if not any(has_opaque(cases)):
        try:
            parse_cases(cases)
        except ValueError as error:
            return [str(error)]
    return []


def _outside(plain: dict[str, Any], limits: dict[str, tuple[float, float]]) -> list[str]:
    """A line for each number outside its limits."""
    return [
        f"{name}: {value} must lie in [{low}, {high}]"
        for name, (low, high) in limits.items()
        if isinstance(value := plain.get(name), (int, float)) and not low <= value <= high
    ]


def _check_download(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """The ranges of the values, which no class stands for."""
    problems = _check_cases(plain)
    limits = {"retries": (0, 100), "timeout_s": (0.1, 3600), "backoff_s": (0, 3600)}
    problems += _outside(plain, WORKERS | limits)
    for name in ("imaging_url", "labels_url", "clinical_url"):
        url = plain.get(name)
        if type(url) is not str:
            continue
        try:
            varies = url.format(case=0) != url.format(case=1)
        except (LookupError, ValueError, AttributeError) as error:
            problems.append(f"{name}: {url}: {{case:05d}} alone may stand in braces ({error!r})")
            continue
        if not url.startswith(("http://", "https://")):
            problems.append(f"{name}: {url} must begin with http:// or https://")
        if not varies and name != "clinical_url":
            problems.append(f"{name}: {url} must hold {{case:05d}}, or all cases would be the same file")
    return problems


WORKERS: dict[str, tuple[float, float]] = {"workers": (1, 64)}


def _check_evaluate(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """The ranges of the values, which no class stands for."""
    from kitsseg.data.chosen import parse_chosen

    problems = []
    if not any(has_opaque(cases := plain.get("cases"))):
        try:
            parse_chosen(cases)
        except ValueError as error:
            problems.append(str(error))
    missing = plain.get("missing")
    if type(missing) is str and missing not in ("error", "zero"):
        problems.append(f"missing: {missing} must be error or zero")
    problems += _outside(plain, WORKERS)
    for region, mm in (plain.get("tolerance_mm") or {}).items():
        if isinstance(mm, (int, float)) and not 0 <= mm < float("inf"):
            problems.append(f"tolerance_mm.{region}: {mm} must be at least 0")
    return problems


def _check_report(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """The folders: each must be there."""
    runs = plain.get("runs")
    if any(has_opaque(runs)):
        return []
    given: list[Any] = runs if isinstance(runs, list) else [runs]
    if not given or not all(isinstance(folder, str) for folder in given):
        return [f"runs: {runs} must be a folder or a list of folders"]
    return [f"runs: {f}: there's no such folder" for f in given if not Path(f).expanduser().is_dir()]


# What every command that opens data gives to its data module.
_DATA = Section(given=("split", "augmentation", "seed"))

COMMANDS = {
    "download": Command(DownloadConfig, {}, _check_download),
    "verify": Command(VerifyConfig, {"source": Section()}, _check_verify),
    "evaluate": Command(
        EvaluateConfig,
        {"source": Section(), "lesions": Section(), "postprocess": Section(optional=True)},
        _check_evaluate,
    ),
    "predict": Command(PredictConfig, {"postprocess": Section(optional=True)}, _check_predict),
    "export": Command(ExportConfig, {}, _check_export),
    "prepare": Command(PrepareConfig, {"data": _DATA}, lambda plain, built: []),
    "report": Command(ReportConfig, {}, _check_report),
    "dashboard": Command(DashboardConfig, {}, _check_report),
    "train": Command(
        TrainConfig,
        {
            "window": Section(),
            "split": Section(),
            "augmentation": Section(),
            "model": Section(),
            "loss": Section(),
            "finetune": Section(optional=True),
            "data": _DATA,
            "optimizer": Section(given=("params",), partial=True),
            "scheduler": Section(given=("optimizer",), offered=("total_steps",), partial=True),
            "trainer": Section(
                given=("logger", "callbacks", "plugins"), resolved={"precision": "auto"}, build=False
            ),
            "logger": Section(optional=True, many=True, build=False),
            "callbacks": Section(optional=True, many=True, build=False),
        },
        _check_train,
    ),
}

for _name, _command in COMMANDS.items():
    ConfigStore.instance().store(name=f"{_name}_schema", node=_command.schema)
