"""Compare label volumes of any origin with KiTS19's labels, case by case.

``python -m kitsseg.evaluate --help``
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

import kitsseg
from kitsseg.config import command_line, validation
from kitsseg.config.components import instantiate
from kitsseg.evaluation.cases import choose, pair, score_pair

if TYPE_CHECKING:
    from kitsseg.evaluation.record import Evaluation

SETTINGS = ("source", "cases", "missing", "tolerance_mm", "lesions")  # and postprocess


def run(cfg: DictConfig) -> int:
    """Evaluate, write, print; the exit code.

    Raises:
        ValueError: there's nothing to evaluate, or (``strict``) any case has a problem.
    """
    from kitsseg.data.case import is_id
    from kitsseg.data.parallel import over_cases
    from kitsseg.evaluation.prediction_files import PREDICTION_NAME, find_masks
    from kitsseg.evaluation.record import Evaluation

    predictions, truth, output = (
        Path(path).expanduser() for path in (cfg.predictions, cfg.truth, cfg.output)
    )
    source = instantiate(cfg.source)
    predicted, unusable = find_masks(predictions, (PREDICTION_NAME, source.label_name))
    known, unknown = find_masks(truth, (source.label_name,))
    if not predicted and not unusable:
        raise ValueError(f"predictions={predictions} holds no label volumes such as case_00042.nii.gz")
    if not known and not unknown:
        raise ValueError(f"truth={truth} holds no label volumes, nor case_XXXXX/{source.label_name}")
    asked = validation.plain(cfg.cases)
    chosen = choose(asked, [*predicted, *unusable], [*known, *unknown], source.numbers)
    refused = {
        name: reason
        for name, reason in (unknown | unusable).items()
        if name in chosen or not is_id(name)
    }
    pairs, missing, problems = pair(chosen, predicted, known, refused, cfg.missing == "zero")
    for case, reason in problems.items():
        if cfg.strict:
            raise ValueError(f"{case}: {reason}")
    output.mkdir(parents=True, exist_ok=True)
    postprocess = instantiate(cfg.postprocess) if validation.is_on(cfg.postprocess) else None
    job = partial(
        score_pair,
        classes=source.classes,
        tolerance_mm=validation.plain(cfg.tolerance_mm),
        matching=instantiate(cfg.lesions),
        postprocess=postprocess,
    )
    figures: dict[str, Any] = {}
    results = over_cases(job, pairs, cfg.workers, "evaluating")
    for each, (scored, problem) in zip(pairs, results, strict=True):
        if scored is not None:
            figures[each.id] = scored
        elif cfg.strict:
            raise ValueError(f"{each.id}: {problem}")
        else:
            problems[each.id] = problem
    evaluation = Evaluation(
        name=predictions.resolve().name if cfg.name is None else cfg.name,
        predictions=str(predictions),
        truth=str(truth),
        settings={
            **{key: validation.plain(cfg[key]) for key in SETTINGS},
            "postprocess": None if postprocess is None else validation.plain(cfg.postprocess),
        },
        cases=dict(sorted(figures.items())),
        missing=missing,
        problems=dict(sorted(problems.items())),
        kitsseg=kitsseg.__version__,
    )
    evaluation.write(output)
    return report(evaluation, len(chosen), output)


# ---- cases


# ---- what came of it


def report(evaluation: "Evaluation", expected: int, output: Path) -> int:
    """Print the means, and a line for every problem; the exit code."""
    from kitsseg.evaluation.record import CSV, JSON, POSTPROCESSED, table

    summary = evaluation.summary()
    print(f"{len(evaluation.cases)} of {expected} cases evaluated; means with 95 % intervals over cases")
    if evaluation.missing and evaluation.settings["missing"] == "zero":
        print(f"without a prediction, so scored as empty: {', '.join(evaluation.missing)}")
    if POSTPROCESSED in summary:
        print(f"\nas predicted\n{table(summary['as_predicted'])}")
        print(f"\npost-processed\n{table(summary[POSTPROCESSED])}")
    else:
        print(table(summary["as_predicted"]))
    print(f"\n{output / JSON}\n{output / CSV}")
    for name, reason in evaluation.problems.items():
        command_line.say("evaluate", f"{name}: {reason}")
    return 1 if evaluation.problems else 0


def main() -> None:
    """The command."""
    command_line.hand_over("evaluate", run, "nothing was written")


if __name__ == "__main__":
    main()
