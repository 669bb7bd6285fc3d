"""Records -> the paper's Table 1, as Markdown, CSV and LaTeX (booktabs)."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kitsseg.results import Record, case_mean

COLUMNS = ("Train Kidney", "Train Tumor", "Val Kidney", "Val Tumor")
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


@dataclass(frozen=True)
class Row:
    """A model's figures: ``values`` is ``[runs, 4]``, in the order of `COLUMNS`."""

    label: str
    values: np.ndarray
    before: np.ndarray


def rows(records: Sequence[Record]) -> list[Row]:
    """One row for each model and set of options; runs that differ only in their seed share one."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault((record.model, *sorted(record.overrides)), []).append(record)
    # Options that all groups share say nothing in a row's name.
    shared = set.intersection(*(set(key[1:]) for key in groups)) if groups else set()
    out = []
    for (model, *options), group in groups.items():
        differing = [o for o in options if o not in shared and not o.startswith("model=")]
        final = np.array([figures(r, after=True) for r in group])
        out.append(Row(", ".join([model, *differing]), final, np.array([figures(r) for r in group])))
    return out


def figures(record: Record, after: bool = False) -> list[float]:
    """A run's case means in the order of `COLUMNS`, of stage one or ``after`` all stages."""
    parts = record.final if after else record.before
    return [case_mean(parts[part], region) for part, region in CELLS]


def cell(values: np.ndarray) -> str:
    """Mean over runs, ``± sample standard deviation`` if there are several."""
    if np.isnan(values).any():
        return "–"
    text = f"{values.mean():.3f}"
    return text if len(values) == 1 else f"{text} ± {values.std(ddof=1):.3f}"


def note(records: Sequence[Record]) -> str:
    """What the figures are, in words."""
    cases = {(len(r.split["train"]), len(r.split["validation"])) for r in records}
    seeds = sorted({r.seed for r in records})
    tuned = {r.after is not None for r in records}
    stage = {
        frozenset({True}): "after fine-tuning on tumour slices",
        frozenset({False}): "without fine-tuning",
    }.get(frozenset(tuned), "after fine-tuning where the run had it")
    return (
        "Dice of the official regions (kidney: label > 0, tumour: label > 1), on each case's own grid, "
        "over all of its slices; mean over cases "
        f"({' or '.join(f'{t} train, {v} validation' for t, v in sorted(cases))}), {stage}. "
        "A region that a case neither has nor is given is left out of the mean. "
        f"Seeds: {', '.join(map(str, seeds))}; ± is the standard deviation over seeds. "
        "The weights are those with the best validation loss, so the validation figures are somewhat "
        "optimistic. The paper doesn't state its own conventions."
    )


def markdown(records: Sequence[Record]) -> str:
    """Table 1, its stage-one counterpart, the paper's rows and the note."""
    table = rows(records)
    parts = [
        "# Table 1\n",
        _markdown([(r.label, [cell(v) for v in r.values.T]) for r in table], True),
    ]
    if any(r.after is not None for r in records):
        parts += [
            "\nBefore fine-tuning (stage one):\n",
            _markdown([(r.label, [cell(v) for v in r.before.T]) for r in table], False),
        ]
    return "\n".join([*parts, "", note(records), ""])


def _markdown(body: list[tuple[str, list[str]]], paper: bool) -> str:
    if paper:
        body = body + [(name, [f"{v:.2f}" for v in values]) for name, values in PAPER.items()]
    lines = [("Model", list(COLUMNS)), *body]
    widths = [max(len(line[0]) for line in lines)] + [
        max(len(line[1][i]) for line in lines) for i in range(len(COLUMNS))
    ]
    text = [
        "| " + " | ".join(c.ljust(w) for c, w in zip([name, *cells], widths, strict=True)) + " |"
        for name, cells in lines
    ]
    text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(text)


def comma_separated(records: Sequence[Record]) -> str:
    """Means and standard deviations in columns, stages one and final; full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "stage", "runs", *(f"{c} {s}" for c in COLUMNS for s in ("mean", "sd"))])
    for row in rows(records):
        for stage, values in (("final", row.values), ("before fine-tuning", row.before)):
            spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(len(COLUMNS), np.nan)
            pairs = zip(values.mean(axis=0), spread, strict=True)
            numbers = ["" if np.isnan(n) else repr(float(n)) for pair in pairs for n in pair]
            writer.writerow([row.label, stage, len(values), *numbers])
    for name, figures in PAPER.items():
        writer.writerow([name, "final", "", *(c for f in figures for c in (repr(f), ""))])
    return out.getvalue()


def latex(records: Sequence[Record]) -> str:
    """A booktabs table."""

    def line(name: str, cells: Sequence[str]) -> str:
        joined = " & ".join([name, *cells]).replace("_", r"\_").replace("±", r"$\pm$")
        return joined.replace("–", "--") + r" \\"

    body = [line(r.label, [cell(v) for v in r.values.T]) for r in rows(records)]
    paper = [line(name, [f"{v:.2f}" for v in values]) for name, values in PAPER.items()]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            r"\caption{" + note(records).replace(">", "$>$").replace("±", r"$\pm$") + "}",
            r"\begin{tabular}{lcccc}",
            r"\toprule",
            line("Model", COLUMNS),
            r"\midrule",
            *body,
            r"\midrule",
            *paper,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def write(records: Sequence[Record], folder: Path) -> list[Path]:
    """``table1.md``, ``.csv`` and ``.tex`` in ``folder``, each written whole or not at all."""
    texts = {"md": markdown(records), "csv": comma_separated(records), "tex": latex(records)}
    paths = []
    for ending, text in texts.items():
        path = folder / f"table1.{ending}"
        temporary = path.with_name(f".{path.name}-{os.getpid()}")
        temporary.write_text(text)
        os.replace(temporary, path)
        paths.append(path)
    return paths
