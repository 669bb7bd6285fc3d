"""What each command's config holds: plain values with their types, and components as open dicts.

The signature of a component's ``_target_`` is its schema.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


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
    crop: bool | None = None
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
    compile: bool | None = MISSING
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
