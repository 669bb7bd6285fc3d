"""Records -> the paper's Table 1 with intervals, what differs, and strata: Markdown, CSV and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kitsseg.evaluation import stats
from kitsseg.evaluation.metrics import case_mean
from kitsseg.evaluation.stats import Interval
from kitsseg.reporting import comparisons, formats, strata
from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.formats import exact, interval
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.strata import Strata, StratumFigures
from kitsseg.reporting.table_rows import Row, rows

COLUMNS = ("Train Kidney", "Train Tumor", "Val Kidney", "Val Tumor")
HEAD = ("Model", *COLUMNS)
CELLS = (
    ("train", "kidney"),
    ("train", "tumour"),
    ("validation", "kidney"),
    ("validation", "tumour"),
)
# Rathnayaka et al., "Kidney Tumor Detection using Attention based U-Net", Table 1.
PAPER = {
    "UNet (paper)": (0.89, 0.80, 0.81, 0.37),
    "UNet-Attention (paper)": (0.96, 0.90, 0.90, 0.57),
}


def figures(record: Record, after: bool = False) -> list[float]:
    """A run's case means in the order of `COLUMNS`, of stage one or ``after`` all stages."""
    parts = record.final if after else record.before
    return [case_mean(parts[part], region) for part, region in CELLS]


@dataclass(frozen=True)
class Cell:
    """A mean over cases with interval, its standard deviation over seeds, and of how many cases."""

    mean: Interval
    sd: float
    cases: int


def means(row: Row, after: bool = True) -> list[Cell]:
    """A row's figures in the order of `COLUMNS`."""
    scores = [row.scores(part, region, after) for part, region in CELLS]
    return [Cell(stats.mean_interval(s.values), stats.seed_spread(s.values), s.known) for s in scores]


def is_tuned(row: Row) -> bool:
    """Whether a row's runs had a second stage; an evaluation has none that is known."""
    return all(getattr(run, "after", None) is not None for run in row.runs)


class Undone(NamedTuple):
    """A job without figures: what it is called, its state (``failed``, …) and why that is so."""

    label: str
    state: str
    reason: str


@dataclass(frozen=True)
class Study:
    """What is computed of a set of records, once for all tables; and which jobs have none."""

    records: Sequence[Record]
    rows: list[Row]
    final: list[list[Cell]]
    before: list[list[Cell]]
    differences: list[Comparison]
    strata: list[tuple[Strata, list[StratumFigures]]]
    undone: Sequence[Undone] = ()


def study(records: Sequence[Record], undone: Sequence[Undone] = ()) -> Study:
    """All figures of all tables; they mark what is ``undone``."""
    table = rows(records)
    return Study(
        records,
        table,
        [means(row) for row in table],
        [means(row, after=False) for row in table],
        comparisons.compare(table),
        [(divided, strata.figures(table, divided)) for divided in strata.strata(table)],
        undone,
    )


def note(done: Study) -> str:
    """What the figures are, in words."""
    counts = {(len(row.cases("train")), len(row.cases("validation"))) for row in done.rows}
    seeds = sorted({r.seed for r in done.records})
    tuned = {r.after is not None for r in done.records}
    stage = {
        frozenset({True}): "after fine-tuning on tumour slices",
        frozenset({False}): "without fine-tuning",
    }.get(frozenset(tuned), "after fine-tuning where the run had it")
    text = (
        "Dice of the official regions (kidney: label > 0, tumour: label > 1), on each case's own grid, "
        "over all of its slices; mean over cases "
        f"({' or '.join(f'{t} train, {v} validation' for t, v in sorted(counts))}), {stage}. "
        "A region that a case neither has nor is given is left out of the mean. "
        "In brackets the 95 % bootstrap interval over cases (slices never count as samples)"
    )
    if len(seeds) > 1:
        text += (
            ", with the seeds drawn anew as well where a row has several; a case's value is its mean "
            f"over seeds. Seeds: {', '.join(map(str, seeds))}; ± is the standard deviation over seeds. "
        )
    else:
        text += f"; with one seed ({seeds[0]}) it says nothing of what another seed would bring. "
    if any(row.folds > 1 for row in done.rows):
        text += (
            "Folds of one model are pooled: a case's validation value is of the fold in which it "
            "validated, its training value the mean over the folds that trained on it; that the cases "
            "of a fold share its weights, the interval doesn't know. "
        )
    return text + (
        "The weights are those with the best validation loss, so the validation figures are somewhat "
        "optimistic, which no interval knows of. The paper doesn't state its own conventions."
    )


def markdown(records: Sequence[Record]) -> str:
    """Table 1, its stage-one counterpart, the paper's rows, differences and strata, with their notes."""
    return _markdown(study(records))


def write(records: Sequence[Record], folder: Path) -> list[Path]:
    """The tables of `texts` in ``folder``, each written whole or not at all."""
    return formats.write(texts(study(records)), folder)


def texts(done: Study) -> dict[str, str]:
    """All tables by the names of their files.

    Returns:
        ``table1.md`` (which has everything), ``.csv`` and ``.tex``; with several rows
        ``differences.csv`` and ``.tex``; with cases that can be divided ``strata.csv``.
    """
    texts = {
        "table1.md": _markdown(done),
        "table1.csv": _comma_separated(done),
        "table1.tex": _latex(done),
    }
    if done.differences:
        lines = comparisons.lines(done.differences)
        texts["differences.csv"] = comparisons.comma_separated(done.differences)
        texts["differences.tex"] = formats.latex(comparisons.HEAD, [lines], comparisons.NOTE)
    if done.strata:
        texts["strata.csv"] = strata.comma_separated(done.strata)
    return texts


def _markdown(done: Study) -> str:
    parts = [
        "# Table 1\n",
        formats.markdown(HEAD, _lines(done.rows, done.final) + _marks(done) + _paper()),
    ]
    parts += [f"\n{each.label} {each.state}: {each.reason}" for each in done.undone]
    if tuned := [i for i, row in enumerate(done.rows) if is_tuned(row)]:
        earlier = _lines([done.rows[i] for i in tuned], [done.before[i] for i in tuned])
        parts.append("\nBefore fine-tuning (stage one):\n")
        parts.append(formats.markdown(HEAD, earlier))
    parts += ["", note(done)]
    if done.differences:
        lines = comparisons.lines(done.differences)
        parts += ["\n## Differences\n", formats.markdown(comparisons.HEAD, lines), "", comparisons.NOTE]
    for divided, found in done.strata:
        lines = strata.lines(found)
        parts += [f"\n## {divided.name}\n", formats.markdown(strata.head(divided), lines)]
    return "\n".join([*parts, ""])


def _comma_separated(done: Study) -> str:
    """Means, deviations over seeds, intervals and numbers of cases of both stages; full precision."""
    kinds = ("mean", "sd", "low", "high", "cases")
    body = []
    for row, *both in zip(done.rows, done.final, done.before, strict=True):
        stages = zip(("final", "before fine-tuning"), both, strict=True)
        for stage, found in stages if is_tuned(row) else [("final", both[0])]:
            line = [row.label, stage, str(len(row.runs)), str(len({run.seed for run in row.runs}))]
            for cell in found:
                line += map(exact, (cell.mean.mean, cell.sd, cell.mean.low, cell.mean.high))
                line.append(str(cell.cases))
            body.append(line)
    filled = len(CELLS) * len(kinds) + 2
    body += [[each.label, each.state, *[""] * filled] for each in done.undone]
    for name, *values in _paper():
        blank = [""] * (len(kinds) - 1)
        body.append([name, "final", "", "", *(text for value in values for text in (value, *blank))])
    head = ["model", "stage", "runs", "seeds", *(f"{c} {k}" for c in COLUMNS for k in kinds)]
    return formats.comma_separated(head, body)


def _latex(done: Study) -> str:
    """Table 1 with booktabs."""
    return formats.latex(HEAD, [_lines(done.rows, done.final) + _marks(done), _paper()], note(done))


def _lines(table: Sequence[Row], figures: Sequence[Sequence[Cell]]) -> list[list[str]]:
    return [
        [row.label, *(interval(cell.mean, spread=cell.sd) for cell in found)]
        for row, found in zip(table, figures, strict=True)
    ]


def _marks(done: Study) -> list[list[str]]:
    """A line a job without figures, which says so in every cell."""
    return [[each.label, *[each.state] * len(COLUMNS)] for each in done.undone]


def _paper() -> list[list[str]]:
    return [[name, *(f"{value:.2f}" for value in values)] for name, values in PAPER.items()]
