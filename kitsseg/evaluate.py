"""Compare predicted label volumes with the ground truth, case by case.

``python -m kitsseg.evaluate --help``
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

import kitsseg
from kitsseg.config import command_line, validation
from kitsseg.config.components import instantiate

if TYPE_CHECKING:
    from kitsseg.evaluation.record import Evaluation

SETTINGS = ("source", "cases", "missing", "tolerance_mm", "lesions")  # and postprocess


def run(cfg: DictConfig) -> int:
    """Evaluate the cases, write the results, print the means and return the exit code.

    Raises:
        ValueError: If a folder holds no label volumes, or if ``strict`` is set and a case has a problem.
    """
    from kitsseg.evaluation.cases import find_pairs
    from kitsseg.evaluation.record import Evaluation
    from kitsseg.evaluation.scores import score_pair, score_pairs

    predictions, truth, output = (
        Path(path).expanduser() for path in (cfg.predictions, cfg.truth, cfg.output)
    )
    source = instantiate(cfg.source)
    selection = find_pairs(
        predictions, truth, source, validation.plain(cfg.cases), missing_is_empty=cfg.missing == "zero"
    )
    if cfg.strict:
        selection.raise_first_problem()
    output.mkdir(parents=True, exist_ok=True)
    postprocess = instantiate(cfg.postprocess) if validation.is_on(cfg.postprocess) else None
    job = partial(
        score_pair,
        classes=source.classes,
        tolerance_mm=validation.plain(cfg.tolerance_mm),
        matching=instantiate(cfg.lesions),
        postprocess=postprocess,
    )
    scores, problems = score_pairs(job, selection.pairs, cfg.workers, cfg.strict)
    evaluation = Evaluation(
        name=predictions.resolve().name if cfg.name is None else cfg.name,
        predictions=str(predictions),
        truth=str(truth),
        settings={
            **{key: validation.plain(cfg[key]) for key in SETTINGS},
            "postprocess": None if postprocess is None else validation.plain(cfg.postprocess),
        },
        cases=dict(sorted(scores.items())),
        missing=selection.missing,
        problems=dict(sorted((selection.problems | problems).items())),
        kitsseg=kitsseg.__version__,
    )
    evaluation.write(output)
    return report(evaluation, len(selection.chosen), output)


def report(evaluation: "Evaluation", expected: int, output: Path) -> int:
    """Print the means and one line per problem; return the exit code."""
    from kitsseg.evaluation.record import CSV, JSON, POSTPROCESSED, table

    summary = evaluation.summary()
    print(f"{len(evaluation.cases)} of {expected} cases evaluated; mean over cases [95 % interval]")
    if evaluation.missing and evaluation.settings["missing"] == "zero":
        print(f"no prediction, scored as empty: {', '.join(evaluation.missing)}")
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
    """Run the command."""
    command_line.hand_over("evaluate", run, "nothing was written")


if __name__ == "__main__":
    main()
