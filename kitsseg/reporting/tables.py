"""Format Table 1 of the paper with intervals, comparisons and strata as Markdown, CSV and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kitsseg.evaluation import stats
from kitsseg.evaluation.metrics import case_mean
from kitsseg.evaluation.stats import Interval
from kitsseg.reporting import comparisons, formats, strata
from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.formats import csv_text, exact, interval
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.strata import Strata, StratumScores
from kitsseg.reporting.table_rows import Row, group_runs

COLUMNS = ("Train Kidney", "Train Tumor", "Val Kidney", "Val Tumor")
HEAD = ("Model", *COLUMNS)
# Part of the split and region of each column.
COLUMN_SCORES = (
    ("train", "kidney"),
    ("train", "tumour"),
    ("validation", "kidney"),
    ("validation", "tumour"),
)
# Rathnayaka et al., "Kidney Tumor Detection using Attention based U-Net", Table 1.
PAPER = {"UNet (paper)": (0.89, 0.80, 0.81, 0.37), "UNet-Attention (paper)": (0.96, 0.90, 0.90, 0.57)}


def mean_dice(record: Record, after: bool = False) -> list[float]:
    """Return a run's mean Dice in the order of `COLUMNS`, of stage one or ``after`` all stages."""
    parts = record.final if after else record.before
    return [case_mean(parts[part], region) for part, region in COLUMN_SCORES]


@dataclass(frozen=True)
class Cell:
    """A mean over cases with its interval, standard deviation over seeds and number of cases."""

    mean: Interval
    sd: float
    cases: int


def row_cells(row: Row, after: bool = True) -> list[Cell]:
    """Return a row's values in the order of `COLUMNS`, of the last stage or of stage one."""
    scores = [row.scores(part, region, after) for part, region in COLUMN_SCORES]
    return [
        Cell(stats.mean_interval(s.values), stats.seed_spread(s.values), s.scored_cases) for s in scores
    ]


class MissingRun(NamedTuple):
    """A job without a record: its label, its state (``failed``, …) and the reason."""

    label: str
    state: str
    reason: str


@dataclass(frozen=True)
class Study:
    """Everything that the tables show, computed once.

    Attributes:
        records: of all runs.
        rows: the runs grouped by configuration.
        final: cells of each row after the last stage.
        before: cells of each row after stage one.
        comparisons: paired differences between rows.
        strata: groupings of the cases with the scores in each stratum.
        missing: jobs without a record.
    """

    records: Sequence[Record]
    rows: list[Row]
    final: list[list[Cell]]
    before: list[list[Cell]]
    comparisons: list[Comparison]
    strata: list[tuple[Strata, list[StratumScores]]]
    missing: Sequence[MissingRun] = ()


def study(records: Sequence[Record], missing: Sequence[MissingRun] = ()) -> Study:
    """Return the statistics of ``records`` for all tables, which also list the ``missing`` runs."""
    rows = group_runs(records)
    return Study(
        records,
        rows,
        [row_cells(row) for row in rows],
        [row_cells(row, after=False) for row in rows],
        comparisons.compare(rows),
        [(groups, strata.score_strata(rows, groups)) for groups in strata.divide_cases(rows)],
        missing,
    )


def note(done: Study) -> str:
    """Return the note under Table 1: metric, aggregation, intervals and limitations."""
    counts = {(len(row.cases("train")), len(row.cases("validation"))) for row in done.rows}
    seeds = sorted({record.seed for record in done.records})
    tuned = {record.after is not None for record in done.records}
    stage = {
        frozenset({True}): "after fine-tuning on tumour slices",
        frozenset({False}): "without fine-tuning",
    }.get(frozenset(tuned), "after fine-tuning where a run includes it")
    text = (
        "Dice of the official regions (kidney: label > 0, tumour: label > 1), computed per case over "
        "all slices on the case's original grid and averaged over cases "
        f"({' or '.join(f'{t} train, {v} validation' for t, v in sorted(counts))}), {stage}. "
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


def table1_markdown(records: Sequence[Record]) -> str:
    """Return ``table1.md``: Table 1 before and after fine-tuning, comparisons, strata and notes."""
    return _markdown(study(records))


def texts(done: Study) -> dict[str, str]:
    """Return the content of all table files by file name.

    Returns:
        ``table1.md`` (all tables), ``table1.csv`` and ``table1.tex``; with several rows
        ``differences.csv`` and ``differences.tex``; with known tumour sizes or stages ``strata.csv``.
    """
    files = {"table1.md": _markdown(done), "table1.csv": _csv(done), "table1.tex": _latex(done)}
    if done.comparisons:
        cells = comparisons.comparison_cells(done.comparisons)
        files["differences.csv"] = comparisons.comparison_csv(done.comparisons)
        files["differences.tex"] = formats.latex(comparisons.HEAD, [cells], comparisons.NOTE)
    if done.strata:
        files["strata.csv"] = strata.strata_csv(done.strata)
    return files


def _markdown(done: Study) -> str:
    lines = _lines(done.rows, done.final) + _missing_lines(done) + _paper_lines()
    parts = ["# Table 1\n", formats.markdown(HEAD, lines)]
    parts += [f"\n{run.label} {run.state}: {run.reason}" for run in done.missing]
    if tuned := [i for i, row in enumerate(done.rows) if row.is_fine_tuned]:
        lines = _lines([done.rows[i] for i in tuned], [done.before[i] for i in tuned])
        parts += ["\nBefore fine-tuning (stage one):\n", formats.markdown(HEAD, lines)]
    parts += ["", note(done)]
    if done.comparisons:
        lines = comparisons.comparison_cells(done.comparisons)
        parts += ["\n## Differences\n", formats.markdown(comparisons.HEAD, lines), "", comparisons.NOTE]
    for groups, scores in done.strata:
        table = formats.markdown(strata.stratum_head(groups), strata.stratum_cells(scores))
        parts += [f"\n## {groups.name}\n", table]
    return "\n".join([*parts, ""])


def _csv(done: Study) -> str:
    """Return Table 1 of both stages as CSV with full precision."""
    kinds = ("mean", "sd", "low", "high", "cases")
    body = []
    for row, final, before in zip(done.rows, done.final, done.before, strict=True):
        stages = (
            {"final": final, "before fine-tuning": before} if row.is_fine_tuned else {"final": final}
        )
        for stage, cells in stages.items():
            line = [row.label, stage, str(len(row.runs)), str(len(row.seeds))]
            for cell in cells:
                line += map(exact, (cell.mean.mean, cell.sd, cell.mean.low, cell.mean.high))
                line.append(str(cell.cases))
            body.append(line)
    empty = [""] * (len(COLUMNS) * len(kinds) + 2)
    body += [[run.label, run.state, *empty] for run in done.missing]
    for name, *values in _paper_lines():
        blank = [""] * (len(kinds) - 1)
        body.append([name, "final", "", "", *(text for value in values for text in (value, *blank))])
    head = ["model", "stage", "runs", "seeds", *(f"{c} {k}" for c in COLUMNS for k in kinds)]
    return csv_text(head, body)


def _latex(done: Study) -> str:
    blocks = [_lines(done.rows, done.final) + _missing_lines(done), _paper_lines()]
    return formats.latex(HEAD, blocks, note(done))


def _lines(rows: Sequence[Row], cells: Sequence[Sequence[Cell]]) -> list[list[str]]:
    return [
        [row.label, *(interval(cell.mean, spread=cell.sd) for cell in row_values)]
        for row, row_values in zip(rows, cells, strict=True)
    ]


def _missing_lines(done: Study) -> list[list[str]]:
    """Return one line per missing run with its state in every column."""
    return [[run.label, *[run.state] * len(COLUMNS)] for run in done.missing]


def _paper_lines() -> list[list[str]]:
    return [[name, *(f"{value:.2f}" for value in values)] for name, values in PAPER.items()]
