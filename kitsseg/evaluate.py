"""Compare predicted label volumes with the ground truth: ``python -m kitsseg.evaluate --help``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, DictConfig

import kitsseg
from kitsseg.config.command_line import print_error, run_command
from kitsseg.config.components import Section, instantiate
from kitsseg.config.validation import Command, is_on, outside, plain
from kitsseg.data.suggestions import suggestion

if TYPE_CHECKING:
    from kitsseg.evaluation.cases import Pair


@dataclass
class EvaluateConfig:
    """Schema of ``conf/evaluate.yaml``."""

    predictions: str = MISSING
    truth: str = MISSING
    output: str = MISSING
    source: dict[str, Any] = MISSING
    labels: dict[str, Any] = MISSING
    name: str | None = None
    cases: Any = MISSING
    missing: str = MISSING
    strict: bool = MISSING
    absent_dice: float | None = None
    workers: int = MISSING
    tolerance_mm: dict[str, float] = field(default_factory=dict)
    lesions: dict[str, Any] = MISSING
    postprocess: dict[str, Any] | None = None


def check(values: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """Return the problems of values outside components."""
    from kitsseg.evaluation.cases import parse_selection
    from kitsseg.evaluation.postprocess import PostProcessing

    problems = outside(values, workers=(1, 64))
    if values["absent_dice"] is not None:
        problems += outside(values, absent_dice=(0, 1))
    for region, mm in values["tolerance_mm"].items():
        if not 0 <= mm < inf:
            problems.append(f"tolerance_mm.{region}={mm}: must be at least 0 and finite")
        if "labels" in built and region not in (*PRESET, *built["labels"].regions):
            remedy = suggestion(region, built["labels"].regions)
            problems.append(f"tolerance_mm.{region}: no such region{remedy}")
    if values["missing"] not in ("error", "zero"):
        problems.append(f"missing={values['missing']}: must be error or zero")
    if isinstance(rules := built.get("postprocess"), PostProcessing) and "labels" in built:
        try:
            rules.check(built["labels"])
        except ValueError as error:
            problems.append(str(error))
    if "source" in built:
        try:
            parse_selection(values["cases"], built["source"])
        except ValueError as error:
            problems.append(str(error))
    return problems


# Regions of all label choices, for which conf/evaluate.yaml has a tolerance.
PRESET = ("kidney", "tumour", "kidney_label", "kidney_and_masses", "masses")
SECTIONS = {
    "source": Section(),
    "labels": Section(),
    "lesions": Section(),
    "postprocess": Section(optional=True),
}
COMMAND = Command("evaluate", EvaluateConfig, SECTIONS, check)
SETTINGS = ("source", "cases", "missing", "absent_dice", "tolerance_mm", "lesions")  # and postprocess


def run(cfg: DictConfig) -> int:
    """Evaluate the cases, write the results, print the means and return the exit code."""
    from kitsseg.data.case import TEST
    from kitsseg.data.split_part import parse_part
    from kitsseg.evaluation import record
    from kitsseg.evaluation.cases import find_pairs, prediction_values
    from kitsseg.evaluation.postprocess import PostProcessing
    from kitsseg.evaluation.scores import score_pair

    predictions, truth = Path(cfg.predictions).expanduser(), Path(cfg.truth).expanduser()
    output, source = Path(cfg.output).expanduser(), instantiate(cfg.source)
    labels = instantiate(cfg.labels)
    found = find_pairs(predictions, truth, source, plain(cfg.cases), cfg.missing == "zero", labels)
    chosen, pairs, missing, problems = found
    if cfg.strict:
        for case, reason in problems.items():
            raise ValueError(f"{case}: {reason}")
    output.mkdir(parents=True, exist_ok=True)
    postprocess = instantiate(cfg.postprocess) if is_on(cfg.postprocess) else None
    if isinstance(postprocess, PostProcessing):  # a class of the user gets no labels, as in predict
        postprocess = partial(postprocess, labels=labels)
    job = partial(
        score_pair, labels=labels, stored=source.stored(labels),
        predicted=prediction_values(predictions, source.stored(labels), labels),
        tolerance_mm=plain(cfg.tolerance_mm), matching=instantiate(cfg.lesions), postprocess=postprocess,
        absent_dice=cfg.absent_dice,
    )  # fmt: skip
    part = parse_part(cfg.cases)
    test_split = part[0] if part is not None and part[1] == TEST else None
    if test_split is not None:
        record.check_looks(test_split)
    scores = score_pairs(job, pairs, problems, cfg)
    looks = (
        record.count_look(test_split, chosen, predictions) if test_split is not None and scores else 0
    )
    evaluation = {
        "name": default_name(predictions) if cfg.name is None else cfg.name,
        "predictions": str(predictions),
        "truth": str(truth),
        "settings": {
            **{key: plain(cfg[key]) for key in SETTINGS},
            "postprocess": None if postprocess is None else plain(cfg.postprocess),
            "labels": labels.as_dict(),
        },
        "cases": scores,
        "missing": missing,
        "problems": dict(sorted(problems.items())),
        "kitsseg": kitsseg.__version__,
        **record.provenance(predictions, [pair for pair in pairs if pair.id in scores]),
        "version": record.VERSION,
        "summary": record.summarise(scores, labels),
        **({"test_looks": looks} if looks else {}),
    }
    record.write(output, evaluation)
    return report(evaluation, len(chosen), output)


def score_pairs(
    job: "Callable[[Pair], tuple[dict[str, Any] | None, str]]",
    pairs: "Sequence[Pair]",
    problems: dict[str, str],
    cfg: DictConfig,
) -> dict[str, Any]:
    """Return the metrics by case, and add the problems of the others to ``problems``."""
    from kitsseg.data.parallel import over_cases

    scores = {}
    results = over_cases(job, pairs, cfg.workers, "evaluating")
    for pair, (scored, problem) in zip(pairs, results, strict=True):
        if scored is not None:
            scores[pair.id] = scored
        elif cfg.strict:
            raise ValueError(f"{pair.id}: {problem}")
        else:
            problems[pair.id] = problem
    return scores


def default_name(predictions: Path) -> str:
    """Return the name of the folder of predictions, or of the run for its folder ``predictions``."""
    folder = predictions.resolve()
    return folder.parent.name if folder.name == "predictions" and folder.parent.name else folder.name


def report(evaluation: dict[str, Any], expected: int, output: Path) -> int:
    """Print the means and one line per problem; return the exit code."""
    from kitsseg.evaluation.record import CSV, JSON, POSTPROCESSED, table

    summary, target = evaluation["summary"], evaluation["settings"]["labels"]["target"]
    print(f"{len(evaluation['cases'])} of {expected} cases evaluated; mean or median [95 % interval]")
    if evaluation["missing"] and evaluation["settings"]["missing"] == "zero":
        print(f"no prediction, scored as empty: {', '.join(evaluation['missing'])}")
    if POSTPROCESSED in summary:
        print(f"\nas predicted\n{table(summary['as_predicted'], target)}")
        print(f"\npost-processed\n{table(summary[POSTPROCESSED], target)}")
    else:
        print(table(summary["as_predicted"], target))
    if looks := evaluation.get("test_looks"):
        print(f"\nthese test cases were evaluated {looks} time{'s' if looks > 1 else ''}")
    print(f"\n{output / JSON}\n{output / CSV}")
    for name, reason in evaluation["problems"].items():
        print_error("evaluate", f"{name}: {reason}")
    return 1 if evaluation["problems"] else 0


if __name__ == "__main__":
    run_command(COMMAND, run, "nothing was written")
