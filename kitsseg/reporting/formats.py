"""Figures -> cells, cells -> Markdown, CSV and LaTeX (booktabs), written whole or not at all."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from kitsseg.evaluation.stats import Interval
from kitsseg.system.files import write_text

Lines = Sequence[Sequence[str]]

# What LaTeX takes for a command, and the signs that need one.
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "_": r"\_", "%": r"\%", "&": r"\&",
    "#": r"\#", "^": r"\^{}", "~": r"\~{}", "<": "$<$", ">": "$>$", "≤": r"$\le$", "±": r"$\pm$",
    "−": "$-$", "–": "--",
}  # fmt: skip


def number(value: float, form: str = ".3f") -> str:
    """A dash for a figure that doesn't exist."""
    return "–" if math.isnan(value) else format(value, form)


def interval(values: Interval, sign: str = "", spread: float = math.nan) -> str:
    """``mean ± spread [low, high]``, without what doesn't exist."""
    text = number(values.mean, f"{sign}.3f")
    if not math.isnan(spread):
        text += f" ± {spread:.3f}"
    if not math.isnan(values.low):
        text += f" [{values.low:{sign}.3f}, {values.high:{sign}.3f}]"
    return text


def p_value(p: float) -> str:
    """Three digits, and never 0."""
    return "<0.001" if p < 0.001 else number(p)


def exact(value: float) -> str:
    """All digits, or nothing for a figure that doesn't exist."""
    return "" if math.isnan(value) else repr(float(value))


def markdown(head: Sequence[str], body: Lines) -> str:
    """Aligned columns."""
    lines = [list(head), *map(list, body)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(text)


def comma_separated(head: Sequence[str], body: Lines) -> str:
    """A line a row."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *body])
    return out.getvalue()


def latex(head: Sequence[str], blocks: Sequence[Lines], caption: str) -> str:
    """A booktabs table; a rule between blocks."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(escape, cells)) + r" \\"

    body = [text for block in blocks for text in (r"\midrule", *map(line, block))]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            r"\caption{" + escape(caption) + "}",
            r"\begin{tabular}{l" + "c" * (len(head) - 1) + "}",
            r"\toprule",
            line(head),
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Plain text as LaTeX."""
    return "".join(LATEX.get(sign, sign) for sign in text)


def write(texts: Mapping[str, str], folder: Path) -> list[Path]:
    """Each text under its name in ``folder``."""
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
