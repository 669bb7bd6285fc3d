"""Format Table 1 of the paper with intervals, comparisons and strata as Markdown, CSV and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from kitsseg.data.labels import OFFICIAL
from kitsseg.evaluation.metrics import case_mean
from kitsseg.reporting import comparisons, formats, strata
from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.formats import interval
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.runs import Job
from kitsseg.reporting.strata import Strata
from kitsseg.reporting.table_rows import Cell, Row, group_runs

COLUMNS = ("Train Kidney", "Train Tumor", "Val Kidney", "Val Tumor")
PARTS_AND_REGIONS = tuple(product(("train", "validation"), OFFICIAL))  # of the columns
HEAD = ("Model", *COLUMNS)
# Rathnayaka et al., "Kidney Tumor Detection using Attention based U-Net", Table 1.
PAPER = (
    ("UNet (paper)", "0.89", "0.80", "0.81", "0.37"),
    ("UNet-Attention (paper)", "0.96", "0.90", "0.90", "0.57"),
)


def mean_dice(record: Record, after: bool = False) -> list[float]:
    """Return a run's mean Dice in the order of `COLUMNS`, of stage one or ``after`` all stages."""
    parts = record.final if after else record.before
    return [case_mean(parts[part], region) for part, region in PARTS_AND_REGIONS]


@dataclass(frozen=True)
class Study:
    """Everything that the tables show, computed once."""

    rows: list[Row]
    final: list[list[Cell]]  # of each row in the order of `COLUMNS`, after the last stage
    before: list[list[Cell]]  # the same after stage one
    comparisons: list[Comparison]
    strata: list[Strata]
    missing: Sequence[Job]  # without a record


def study(records: Sequence[Record], missing: Sequence[Job] = ()) -> Study:
    """Return the statistics of ``records`` for all tables, which also list the ``missing`` jobs."""
    rows = group_runs(records)
    final, before = (
        [[row.scores(*column, after).cell() for column in PARTS_AND_REGIONS] for row in rows]
        for after in (True, False)
    )
    return Study(rows, final, before, comparisons.compare(rows), strata.divide_cases(rows), missing)


def note(done: Study) -> str:
    """Return the note under Table 1: metric, aggregation, intervals and limitations."""
    counts = {(len(row.cases("train")), len(row.cases("validation"))) for row in done.rows}
    cases = " or ".join(f"{t} train, {v} validation" for t, v in sorted(counts))
    seeds = sorted({seed for row in done.rows for seed in row.seeds})
    tuned = {run.after is not None for row in done.rows for run in row.runs}
    stage = "after fine-tuning on tumour slices" if tuned == {True} else "without fine-tuning"
    if len(tuned) > 1:
        stage = "after fine-tuning where a run includes it"
    text = (
        "Dice of the official regions (kidney: label > 0, tumour: label > 1), computed per case over "
        f"all slices on the case's original grid and averaged over cases ({cases}), {stage}. "
        "Dice is undefined where a region is absent from both truth and prediction; such cases are "
        "excluded from the mean. Intervals are 95 % bootstrap intervals of the mean, resampling cases "
        "(never slices)"
    )
    if len(seeds) > 1:
        text += (
            ", and seeds for models with several. Scores are averaged over seeds per case. "
            f"Seeds: {', '.join(map(str, seeds))}; ± is the standard deviation over seeds. "
        )
    else:
        text += f". Only seed {seeds[0]} was run, so the interval excludes variation between seeds. "
    if any(row.folds > 1 for row in done.rows):
        text += (
            "Folds of one model are pooled: a case's validation score comes from the fold that "
            "validated it, its training score is the mean over the folds that trained on it. Cases of "
            "one fold share its weights; the intervals do not account for this. "
        )
    return text + (
        "The weights with the best validation loss were selected, so the validation scores are "
        "optimistically biased; the intervals do not account for this. The paper does not state how "
        "its values were computed."
    )


def texts(done: Study) -> dict[str, str]:
    """Return the content of all table files by file name; nothing without any run."""
    if not done.rows:
        return {}
    latex = formats.latex(HEAD, [_final_lines(done), PAPER], note(done))
    files = {"table1.md": table1_markdown(done), "table1.csv": _csv(done), "table1.tex": latex}
    if done.comparisons:
        cells = comparisons.comparison_cells(done.comparisons)
        files["differences.csv"] = comparisons.comparison_csv(done.comparisons)
        files["differences.tex"] = formats.latex(comparisons.HEAD, [cells], comparisons.NOTE)
    if done.strata:
        files["strata.csv"] = strata.strata_csv(done.strata)
    return files


def table1_markdown(done: Study) -> str:
    """Return ``table1.md``: Table 1 after and before fine-tuning, comparisons, strata and notes."""
    parts = ["# Table 1\n", formats.markdown(HEAD, [*_final_lines(done), *PAPER])]
    parts += [f"\n{job.folder.name} {job.state}: {job.reason}" for job in done.missing]
    if before := table_lines(done, after=False):
        parts += ["\nBefore fine-tuning (stage one):\n", formats.markdown(HEAD, before)]
    parts += ["", note(done)]
    if done.comparisons:
        lines = comparisons.comparison_cells(done.comparisons)
        parts += ["\n## Differences\n", formats.markdown(comparisons.HEAD, lines), "", comparisons.NOTE]
    for groups in done.strata:
        parts += [f"\n## {groups.name}\n", formats.markdown(*strata.stratum_table(groups))]
    return "\n".join([*parts, ""])


def table_lines(done: Study, after: bool = True) -> list[list[str]]:
    """Return the cells under `HEAD`: all rows after the last stage, or fine-tuned rows before it."""
    lines = zip(done.rows, done.final if after else done.before, strict=True)
    return [
        [row.label, *(interval(cell.mean, spread=cell.sd) for cell in cells)]
        for row, cells in lines
        if after or row.is_fine_tuned
    ]


def _final_lines(done: Study) -> list[list[str]]:
    """Return the lines after the last stage, and one per missing job with its state in every column."""
    missing = [[job.folder.name, *[job.state] * len(COLUMNS)] for job in done.missing]
    return table_lines(done) + missing


def _csv(done: Study) -> str:
    """Return Table 1 of both stages as CSV with full precision."""
    kinds = ("mean", "sd", "low", "high", "cases")
    head = ["model", "stage", "runs", "seeds", *(f"{c} {kind}" for c in COLUMNS for kind in kinds)]
    body: list[list[object]] = []
    for row, final, before in zip(done.rows, done.final, done.before, strict=True):
        stages = {"final": final} | ({"before fine-tuning": before} if row.is_fine_tuned else {})
        for stage, cells in stages.items():
            values = ((c.mean.mean, c.sd, c.mean.low, c.mean.high, c.cases) for c in cells)
            body.append([row.label, stage, len(row.runs), len(row.seeds), *sum(values, ())])
    body += [[job.folder.name, job.state] for job in done.missing]
    for name, *means in PAPER:
        body.append([name, "final", "", "", *sum(([mean, "", "", "", ""] for mean in means), [])])
    return formats.csv_text(head, [line + [""] * (len(head) - len(line)) for line in body])
