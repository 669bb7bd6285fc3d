"""Format numbers as table cells, and tables as Markdown, CSV and LaTeX (booktabs)."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from kitsseg.evaluation.stats import Interval
from kitsseg.system.files import write_text

Lines = Sequence[Sequence[str]]

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "_": r"\_", "%": r"\%", "&": r"\&",
    "#": r"\#", "^": r"\^{}", "~": r"\~{}", "<": "$<$", ">": "$>$", "≤": r"$\le$", "±": r"$\pm$",
    "−": "$-$", "–": "--",
}  # fmt: skip


def number(value: float, form: str = ".3f") -> str:
    """Return the formatted value, or a dash for NaN."""
    return "–" if math.isnan(value) else format(value, form)


def interval(values: Interval, sign: str = "", spread: float = math.nan) -> str:
    """Return ``mean ± spread [low, high]``; parts that are NaN are omitted."""
    text = number(values.mean, f"{sign}.3f")
    if not math.isnan(spread):
        text += f" ± {spread:.3f}"
    if not math.isnan(values.low):
        text += f" [{values.low:{sign}.3f}, {values.high:{sign}.3f}]"
    return text


def p_value(p: float) -> str:
    """Return ``p`` with three decimals, or ``<0.001``."""
    return "<0.001" if p < 0.001 else number(p)


def exact(value: float) -> str:
    """Return the value with full precision, or an empty text for NaN."""
    return "" if math.isnan(value) else repr(float(value))


def markdown(head: Sequence[str], body: Lines) -> str:
    """Return a Markdown table with aligned columns."""
    lines = [list(head), *map(list, body)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(text)


def csv_text(head: Sequence[str], body: Lines) -> str:
    """Return a CSV file's content."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *body])
    return out.getvalue()


def latex(head: Sequence[str], blocks: Sequence[Lines], caption: str) -> str:
    """Return a booktabs table with a rule between blocks."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(escape_latex, cells)) + r" \\"

    body = [text for block in blocks for text in (r"\midrule", *map(line, block))]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            r"\caption{" + escape_latex(caption) + "}",
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


def escape_latex(text: str) -> str:
    """Return plain text with LaTeX's special characters escaped."""
    return "".join(LATEX.get(character, character) for character in text)


def write_texts(texts: Mapping[str, str], folder: Path) -> list[Path]:
    """Write each text under its name in ``folder``, atomically, and return the paths."""
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
