"""Checks before training: Trainer options, network, loss and initial weights."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kitsseg.data.labels import Labels
from kitsseg.data.store.grid import DIVISOR
from kitsseg.data.volumes.datamodule import PatchDataModule
from kitsseg.inference import checkpoint
from kitsseg.system.distributed import uses_gpus
from kitsseg.training.finetune import check_frozen
from kitsseg.training.losses import check_loss

PRECISIONS = "auto, 32-true, bf16-mixed or 16-mixed"
REQUIRED = ("accelerator", "max_epochs", "precision")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")
RECORDED = "changes settings that are recorded"
CALLBACKS = {  # that are refused, with the reason and the remedy
    "BatchSizeFinder": f"{RECORDED}; set data.batch_size",
    "LearningRateFinder": f"{RECORDED}; compare rates in a sweep: -m optimizer.lr=1e-4,1e-3",
    "BackboneFinetuning": f"{RECORDED}; set finetune.frozen",
    "StochasticWeightAveraging": "averages weights that no best.ckpt would hold; set callbacks=ema",
}
BARS = ("RichProgressBar", "TQDMProgressBar")


def check_trainer(
    trainer: Mapping[str, Any], callbacks: Mapping[str, Any], has_logger: bool = True
) -> list[str]:
    """Return the problems of the ``trainer`` section and of the configured callbacks."""
    has_bar = bool(trainer.get("enable_progress_bar", True))
    return [*_check_values(trainer), *_check_callbacks(callbacks, has_logger, has_bar)]


def _check_values(trainer: Mapping[str, Any]) -> Iterator[str]:
    if missing := [name for name in REQUIRED if trainer.get(name) is None]:
        yield f"trainer: lacks {', '.join(missing)}; start your file with defaults: [auto], or set them"
        return
    for name in ("max_epochs", "accumulate_grad_batches", "val_check_interval"):
        value = trainer.get(name)
        if isinstance(value, int | float) and (value < 1 if isinstance(value, int) else value <= 0):
            yield f"trainer.{name}={value}: must be at least 1"
    if (steps := trainer.get("max_steps", -1)) is not None and steps == 0:
        yield "trainer.max_steps=0: must be at least 1, or -1 for no limit"
    for name, value in (("enable_checkpointing", False), ("barebones", True)):
        if trainer.get(name) is value:
            yield f"trainer.{name}={str(value).lower()}: kitsseg needs checkpoints; remove it"
    precision = str(trainer["precision"])
    if precision.startswith(("64", "transformer-engine")) or precision in ("16-true", "bf16-true"):
        yield f"trainer.precision={precision}: kitsseg trains in {PRECISIONS}"
    elif precision in ("16-mixed", "16") and trainer["accelerator"] != "mps" and not uses_gpus(trainer):
        yield f"trainer.precision={precision}: CPUs do not compute in 16-bit floats; set bf16-mixed"
    strategy = trainer.get("strategy", "auto")
    if isinstance(strategy, str) and strategy not in STRATEGIES:
        yield (
            f"trainer.strategy={strategy}: must be one of {', '.join(STRATEGIES)}; kitsseg starts one "
            "process per device itself"
        )


def check_monitors(
    checkpoint: Mapping[str, Any], callbacks: Mapping[str, Any], labels: Labels
) -> list[str]:
    """Return the problems of ``checkpoint`` and of callbacks with a ``monitor``, such as early stopping.

    No component can log the metric, or its worst value would be chosen.
    """
    nodes = {"checkpoint": checkpoint} | {f"callbacks.{k}": node or {} for k, node in callbacks.items()}
    monitors = ["val/loss", *(f"val/{region}_dice" for region in labels.regions)]
    allowed = {"checkpoint": monitors}
    targets = [str(node.get("_target_", "kitsseg.")) for node in nodes.values()]
    # A user's callbacks may log any metric.
    known = all(target.startswith(("kitsseg.", "pytorch_lightning.")) for target in targets)
    problems = []
    for key, node in nodes.items():
        monitor, mode = node.get("monitor"), node.get("mode", "min")
        expected = "min" if monitor == "val/loss" else "max"
        if monitor in monitors and mode in ("min", "max") and mode != expected:
            problems.append(
                f"{key}.mode={mode}: would choose the worst {monitor}; set {key}.mode={expected}"
            )
        elif (
            monitor is not None and known and monitor not in allowed.get(key, [*monitors, "train/loss"])
        ):
            problems.append(
                f"{key}.monitor={monitor}: must be one of {', '.join(monitors)}, or a metric that your "
                "own callback logs"
            )
    return problems


def check_mirror_axes(axes: Sequence[int], data: object = None) -> list[str]:
    """Return a problem if the axes of test-time mirroring are not distinct axes of the images."""
    names = ["0 (rows)", "1 (columns)", "2 (slices)"][: 3 if isinstance(data, PatchDataModule) else 2]
    if set(axes) <= set(range(len(names))) and len(set(axes)) == len(axes):
        return []
    return [f"mirror_axes={list(axes)}: may contain {' and '.join(names)}, each once"]


def _check_callbacks(callbacks: Mapping[str, Any], has_logger: bool, has_bar: bool) -> Iterator[str]:
    for key, node in callbacks.items():
        name = str(node.get("_target_", "")).rpartition(".")[2] if isinstance(node, Mapping) else ""
        if name in CALLBACKS:
            yield f"callbacks.{key}: {name} {CALLBACKS[name]}"
        elif name in ("LearningRateMonitor", "DeviceStatsMonitor") and not has_logger:
            yield f"callbacks.{key}: {name} needs a logger; set logger=csv"
        elif name in BARS and not has_bar:
            yield f"callbacks.{key}: {name} needs trainer.enable_progress_bar=true"


SIDE = 4 * DIVISOR
PATCH = (64, 64, 64)  # can be pooled six times


def check_network(values: Mapping[str, Any], built: Mapping[str, Any]) -> list[str]:
    """Return the problems of network, loss and initial weights that only show in combination.

    ``values`` is the configuration, ``built`` holds the components that could be built.
    """
    if "model" not in built:
        return []
    net, problems = built["model"], []
    checks: list[Callable[[], object]] = []
    # Kernels that are null are chosen from the data.
    is_planned = values["model"].get("kernels", ()) is None
    if "data" in built:
        data = built["data"]
        side = getattr(data, "size", None) or SIDE
        shape: tuple[int, ...] = (side, side)
        if isinstance(data, PatchDataModule):  # a planned network takes no patch before it is planned
            shape = PATCH if is_planned or isinstance(data.patch, str) else tuple(data.patch)
        try:
            checkpoint.check_output(net, data.neighbours, data.labels, shape)
            checkpoint.check_output(net, data.neighbours, data.labels, shape, in_training=True)
        except ValueError as error:
            problems.append(f"model: {error}")
    if "loss" in built and "labels" in built:
        checks.append(partial(check_loss, built["loss"], len(built["labels"].classes)))
    if (finetune := built.get("finetune")) is not None:
        checks.append(partial(check_frozen, net, finetune.frozen))
    for key, strict in (("init_from", values["init_strict"]), ("resume_from", True)):
        if (path := values[key]) is not None:
            where = Path(path).expanduser()
            checks.append(partial(fitting_weights, net, where, strict and not is_planned, key))
    for check in checks:
        try:
            check()
        except ValueError as error:
            problems.append(str(error))
    return problems


def fitting_weights(
    net: nn.Module, path: Path, strict: bool, key: str = "init_from"
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of a checkpoint that fit into ``net``, and the names of all others, sorted.

    Raises:
        ValueError: the file, set by ``key``, is not a checkpoint, holds a network with another number of
            axes or no weight that fits, or a weight does not fit although ``strict``.
    """
    if not path.is_file():
        raise ValueError(f"{key}={path}: no such file; set a checkpoint of a run")
    stored, own = checkpoint.weights(checkpoint.read(path)), net.state_dict()
    dims, own_dims = (max((v.ndim for v in each.values()), default=2) - 2 for each in (stored, own))
    if dims != own_dims:
        raise ValueError(
            f"{key}={path}: holds a {dims}D network, but model is a {own_dims}D network; set the "
            f"checkpoint of a {own_dims}D network, or a {dims}D model"
        )
    fitting = {n: stored[n] for n in own if n in stored and stored[n].shape == own[n].shape}
    differing = sorted((own.keys() | stored.keys()) - fitting.keys())
    if differing and strict:
        other = ", or init_strict=false to load only the others" if key == "init_from" else ""
        raise ValueError(
            f"{key}={path}: {len(differing)} weights differ in name or shape, such as "
            f"{differing[0]}; set the same model{other}"
        )
    if not fitting:
        raise ValueError(f"{key}={path}: no weight fits into {type(net).__name__}")
    return fitting, differing
