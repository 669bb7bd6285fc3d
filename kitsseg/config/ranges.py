"""What a command's values may be, where no component's class stands for it: one function a command.

Each takes the config as plain values and the components that could be built, and returns a line for
every problem.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitsseg.config.signatures import has_opaque, one_line
from kitsseg.data.labels import REGIONS
from kitsseg.tracking.logger_packages import missing_packages

if TYPE_CHECKING:
    from kitsseg.data.sources.case_numbers import Numbers


def check_train(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
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
    problems += missing_packages(loggers) if isinstance(loggers, dict) else []
    frozen = getattr(built.get("finetune"), "frozen", None)
    if frozen is not None and "model" in built:
        from kitsseg.training.finetune import check_frozen

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


def check_predict(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    problems = _check_cases(plain) if plain.get("cases") is not None else []
    problems += _check_mirror_axes(plain) + _outside(plain, {"offset_hu": (-32768, 32767)})
    paths = plain.get("checkpoint")
    listed = paths if isinstance(paths, list) else [paths]
    if not any(has_opaque(paths)) and not (listed and all(type(path) is str for path in listed)):
        problems.append(f"checkpoint: expected a file or a list of files, got {paths!r}")
    choices = {
        "precision": ("auto", "32-true", "bf16-mixed", "16-mixed"),
        "runtime": ("auto", "torch", "onnx"),
    }
    for name, allowed in choices.items():
        if type(value := plain.get(name)) is str and value not in allowed:
            problems.append(f"{name}: {value} must be one of {', '.join(allowed)}")
    return problems


def check_export(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    formats, allowed = plain.get("formats"), ["onnx", "pt2"]
    if isinstance(formats, list) and not (formats and set(formats) <= set(allowed)):
        return [f"formats: {formats} may hold {', '.join(allowed)}, and must hold one"]
    return []


def check_verify(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    asked = plain.get("cases") is not None
    # Of a source that can't be built it isn't known which cases it has.
    problems = _check_cases(plain, built["source"].numbers) if asked and "source" in built else []
    return problems + _outside(plain, WORKERS)


def _check_cases(plain: dict[str, Any], numbers: "Numbers | None" = None) -> list[str]:
    from kitsseg.data.sources.kits import NUMBERS

    cases = plain.get("cases")
    if not any(has_opaque(cases)):
        try:
            (NUMBERS if numbers is None else numbers).choose(cases)
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


def check_download(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
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


def check_evaluate(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """The ranges of the values, which no class stands for."""
    from kitsseg.evaluation.cases import parse_chosen

    problems = []
    if "source" in built and not any(has_opaque(cases := plain.get("cases"))):
        try:
            parse_chosen(cases, built["source"].numbers)
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


def check_report(plain: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """The folders: each must be there."""
    runs = plain.get("runs")
    if any(has_opaque(runs)):
        return []
    given: list[Any] = runs if isinstance(runs, list) else [runs]
    if not given or not all(isinstance(folder, str) for folder in given):
        return [f"runs: {runs} must be a folder or a list of folders"]
    return [f"runs: {f}: there's no such folder" for f in given if not Path(f).expanduser().is_dir()]
