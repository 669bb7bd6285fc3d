"""Format Table 1 of the paper with intervals, comparisons and strata as Markdown, CSV and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kitsseg.data.labels import Labels
from kitsseg.evaluation.metrics import case_mean
from kitsseg.reporting import comparisons, formats, regions, strata
from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.configurations import mixed
from kitsseg.reporting.formats import interval, number, words
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.runs import Job
from kitsseg.reporting.strata import Strata
from kitsseg.reporting.table_rows import Best, Cell, Number, Row, best_row, group_runs, target_words

# Rathnayaka et al., "Kidney Tumor Detection using Attention based U-Net", Table 1.
PAPER = (
    ("UNet (paper)", "0.89", "0.80", "0.81", "0.37"),
    ("UNet-Attention (paper)", "0.96", "0.90", "0.90", "0.57"),
)


def head(labels: Labels) -> list[str]:
    """Return the column heads of Table 1."""
    return ["Model", *(column.head for column in regions.columns(labels))]


def paper(labels: Labels) -> Sequence[Sequence[str]]:
    """Return the paper's lines of Table 1, which are of KiTS19."""
    return PAPER if regions.are_kits19(labels) else ()


def mean_dice(record: Record, after: bool = False) -> dict[str, float]:
    """Return a run's mean Dice by `regions.Column.metric`, of stage one or ``after`` all stages."""
    parts = record.final if after else record.before
    columns = regions.columns(record.label_set)
    return {column.metric: case_mean(parts[column.part], column.region) for column in columns}


FILES = (
    "table1.md", "table1.csv", "table1.tex", "differences.csv", "differences.tex", "strata.csv",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """Everything that the tables show, computed once."""

    rows: list[Row]
    final: list[list[Cell]]  # cells of each row by column of Table 1, after the last stage
    before: list[list[Cell]]  # the same after stage one
    comparisons: list[Comparison]
    strata: list[Strata]
    best: list[Best]  # by region, the target first; empty unless several rows have common cases
    missing: Sequence[Job]  # without a record

    @property
    def labels(self) -> Labels:
        """The classes and the scored regions, which are equal in all rows; at least one is needed."""
        return self.rows[0].labels

    @property
    def corrected(self) -> list[int]:
        """The columns of which a row has a mean that is corrected for the choice of the epoch."""
        columns = zip(*self.final, *self.before, strict=True)
        return [i for i, cells in enumerate(columns) if any(c.corrected == c.corrected for c in cells)]


def study(
    records: Sequence[Record], missing: Sequence[Job] = (), margin: float = comparisons.MARGIN
) -> Study:
    """Return the statistics of ``records`` for all tables, which also list the ``missing`` jobs.

    Args:
        margin: difference in Dice below which rows are equivalent.

    Raises:
        ValueError: the records differ in their classes or regions.
    """
    regions.check_equal(records)
    rows = group_runs(records)
    columns = regions.columns(rows[0].labels) if rows else []
    final, before = (
        [[row.cell(c.part, c.region, after) for c in columns] for row in rows] for after in (True, False)
    )
    compared = comparisons.compare(rows, margin)
    ordered = regions.target_first(rows[0].labels) if rows else []
    best = [found for region in ordered if (found := best_row(rows, region)) is not None]
    return Study(rows, final, before, compared, strata.divide_cases(rows), best, missing)


def note(done: Study) -> str:
    """Return the note under Table 1: metric, aggregation, intervals and limitations."""
    numbers = [sorted({len(row.cases(part)) for row in done.rows} - {0}) for part in regions.PARTS]
    train, cases = (" or ".join(map(str, found)) for found in numbers)
    cases = f"{train} train, {cases if cases else 0} validation" if train else cases
    runs = trained_runs(done.rows)
    seeds = sorted({run.seed for run in runs})
    tuned = {run.after is not None for run in runs}
    samples = dict.fromkeys(
        "patches" if "patch" in run.config.get("data", {}) else "slices" for run in runs
    )
    stages = {
        (): "",
        (True,): f", after fine-tuning on {target_words(done.rows)} {' or '.join(samples)}",
        (False,): ", without fine-tuning",
    }
    stage = stages.get((*tuned,), ", after fine-tuning where a run includes it")
    text = (
        f"Dice of the {regions.explain(done.labels)}, computed per case over all slices on the case's "
        f"original grid and averaged over cases ({cases}){stage}. Dice is undefined where a region is "
        "absent from both truth and prediction; such cases are excluded from the mean. Intervals are "
        "95 % bootstrap intervals of the mean. They resample cases, not slices"
    )
    if any(len(row.seeds) > 1 for row in done.rows):
        text += (
            "; for models with several seeds, also seeds. Scores are averaged over seeds per case. "
            f"Seeds: {', '.join(map(str, seeds))}; ± is the standard deviation over seeds. "
        )
    elif seeds:
        text += (
            f". Each model has one seed ({', '.join(map(str, seeds))}), so the intervals exclude "
            "variation between seeds. "
        )
    else:
        text += ". They exclude variation between seeds. "
    text += mixed(done.rows)
    if any(row.folds > 1 for row in done.rows):
        text += (
            "Folds of one model are pooled: a case's validation score comes from the fold that "
            "validated it, its training score is the mean over the folds that trained on it. Cases of "
            "one fold share its weights; the intervals do not account for this. "
        )
    if any(run.is_trial for run in runs):
        text = f"Trial run (fast_dev_run) of a few batches: these values are not results. {text}"
    elif runs:
        text += f"{selection(done.rows)}; the intervals do not account for this. "
    if done.corrected:
        text += (
            "A corrected mean is the mean minus an estimate of this bias, from a bootstrap over cases "
            "that repeats the choice of the epoch. "
        )
    if paper(done.labels):
        text += "The paper's values are for KiTS19; it does not state how they were computed."
    return text.strip()


def trained_runs(rows: Sequence[Row]) -> list[Record]:
    """Return the runs that trained a network; the others are evaluations of label volumes."""
    return [run for row in rows for run in row.runs if run.epochs]


def selection(rows: Sequence[Row]) -> str:
    """Return by which metric the weights were selected, and what follows from it."""
    monitors = {
        run.config.get("checkpoint", {}).get("monitor", "val/loss") for run in trained_runs(rows)
    }
    names = sorted("validation loss" if name == "val/loss" else name for name in monitors)
    return (
        f"The weights with the best {' or '.join(names)} were selected, so the validation scores are "
        "optimistically biased"
    )


def texts(done: Study) -> dict[str, str]:
    """Return the content of all table files by file name; nothing without any run."""
    if not done.rows:
        return {}
    blocks = [block for block in (_final_lines(done), paper_lines(done)) if block]
    latex = formats.latex(heads(done), blocks, " ".join([*best_lines(done), note(done)]))
    files = {"table1.md": table1_markdown(done), "table1.csv": _csv(done), "table1.tex": latex}
    if done.comparisons:
        cells = comparisons.comparison_cells(done.comparisons)
        files["differences.csv"] = comparisons.comparison_csv(done.comparisons)
        files["differences.tex"] = formats.latex(
            comparisons.HEAD, [cells], comparisons.note(done.comparisons)
        )
    if done.strata:
        files["strata.csv"] = strata.strata_csv(done.strata)
    return files


def table1_markdown(done: Study) -> str:
    """Return ``table1.md``: Table 1 after and before fine-tuning, comparisons, strata and notes."""
    names = heads(done)
    parts = ["# Table 1\n", formats.markdown(names, [*_final_lines(done), *paper_lines(done)])]
    parts += [f"\n{job.folder.name} {job.state}: {job.reason}" for job in done.missing]
    if before := table_lines(done, after=False):
        parts += ["\nBefore fine-tuning (stage one):\n", formats.markdown(names, before)]
    parts += [*(f"\n{line}" for line in best_lines(done)), "", note(done)]
    if done.comparisons:
        lines = comparisons.comparison_cells(done.comparisons)
        parts += ["\n## Differences\n", formats.markdown(comparisons.HEAD, lines), ""]
        parts.append(comparisons.note(done.comparisons))
    for groups in done.strata:
        parts += [f"\n## {groups.name}\n", formats.markdown(*strata.stratum_table(groups))]
    return "\n".join([*parts, ""])


def table_lines(done: Study, after: bool = True) -> list[list[str]]:
    """Return the cells of Table 1: all rows after the last stage, or fine-tuned rows before it."""
    name, columns = "mean" if after else "before", regions.columns(done.labels)
    lines: list[list[str]] = []
    for row, cells in zip(done.rows, done.final if after else done.before, strict=True):
        if not after and not row.is_fine_tuned:
            continue
        places = [(row.name, column.part, column.region) for column in columns]
        means = [
            Number(interval(cell.mean, spread=cell.sd), [row], cell.ids, name, *place)
            for cell, place in zip(cells, places, strict=True)
        ]
        corrected = []
        for i in done.corrected:
            text = "" if np.isnan(cells[i].corrected) else number(cells[i].corrected)
            corrected.append(Number(text, [row], cells[i].ids, f"corrected_{name}", *places[i]))
        lines.append([row.label, *means, *corrected])
    return lines


def best_lines(done: Study) -> list[str]:
    """Return a line about the best of several rows, corrected for its choice; none with one row."""
    parts = []
    for best in done.best:
        chosen = "recipe" if np.isnan(best.row.optimism(best.region)) else "recipe and the epoch"
        parts.append(
            f"{words(best.region)} ({len(best.cases)} cases): {best.row.label}, mean Dice "
            f"{best.mean:.3f} ({best.corrected:.3f} after correction for the choice of the {chosen})"
        )
    if not parts:
        return []
    return [f"Best of {len(done.rows)} recipes on common validation cases: {'; '.join(parts)}."]


def heads(done: Study) -> list[str]:
    """Return `head`, and the heads of the means that are corrected for the choice of the epoch."""
    names = head(done.labels)
    return [*names, *(f"{names[i + 1]} corrected" for i in done.corrected)]


def paper_lines(done: Study) -> list[list[str]]:
    """Return `paper` with empty cells under the corrected means."""
    return [[*line, *[""] * len(done.corrected)] for line in paper(done.labels)]


def _final_lines(done: Study) -> list[list[str]]:
    """Return the lines after the last stage, and one per missing job with its state in every column."""
    width = len(heads(done)) - 1
    missing = [[job.folder.name, *[job.state] * width] for job in done.missing]
    return table_lines(done) + missing


def _csv(done: Study) -> str:
    """Return Table 1 of both stages as CSV with full precision."""
    kinds = ("mean", "sd", "low", "high", "cases", "corrected")
    columns = head(done.labels)[1:]
    names = ["model", "stage", "runs", "seeds", *(f"{c} {kind}" for c in columns for kind in kinds)]
    body: list[list[object]] = []
    for row, final, before in zip(done.rows, done.final, done.before, strict=True):
        stages = {"final": final} | ({"before fine-tuning": before} if row.is_fine_tuned else {})
        for stage, cells in stages.items():
            values = ((c.mean.mean, c.sd, c.mean.low, c.mean.high, c.cases, c.corrected) for c in cells)
            body.append([row.label, stage, len(row.runs), len(row.seeds), *sum(values, ())])
    body += [[job.folder.name, job.state] for job in done.missing]
    for name, *means in paper(done.labels):
        body.append([name, "final", "", "", *sum(([mean, *[""] * 5] for mean in means), [])])
    return formats.csv_text(names, [line + [""] * (len(names) - len(line)) for line in body])
