"""Format numbers as table cells, and tables as Markdown, CSV and LaTeX (booktabs)."""

import csv
import io
import math
from collections.abc import Sequence

from kitsseg.evaluation.stats import Interval

Lines = Sequence[Sequence[str]]

LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "_": r"\_", "%": r"\%", "&": r"\&",
    "#": r"\#", "^": r"\^{}", "~": r"\~{}", "<": "$<$", ">": "$>$", "≤": r"$\le$", "±": r"$\pm$",
    "−": "$-$", "–": "--",
})  # fmt: skip


def words(name: str) -> str:
    """Return the name of a class or region as text: with spaces instead of underscores."""
    return name.replace("_", " ")


def title(name: str) -> str:
    """Return `words` with a capital letter at the start."""
    text = words(name)
    return text[0].upper() + text[1:]


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


def markdown(head: Sequence[str], body: Lines) -> str:
    """Return a Markdown table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    text = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in (head, *body)]
    text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(text)


def csv_text(head: Sequence[str], body: Sequence[Sequence[object]]) -> str:
    """Return a CSV file's content with numbers in full precision; NaN is an empty cell."""
    out = io.StringIO()
    # NaN is the only value that differs from itself.
    lines = (["" if cell != cell else cell for cell in line] for line in body)
    csv.writer(out, lineterminator="\n").writerows([head, *lines])
    return out.getvalue()


def latex(head: Sequence[str], blocks: Sequence[Lines], caption: str) -> str:
    """Return a booktabs table with a rule between blocks."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cell.translate(LATEX) for cell in cells) + r" \\"

    start = [r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering"]
    start += [r"\caption{" + caption.translate(LATEX) + "}"]
    start += [r"\begin{tabular}{l" + "c" * (len(head) - 1) + "}", r"\toprule", line(head)]
    body = [text for block in blocks for text in (r"\midrule", *map(line, block))]
    return "\n".join([*start, *body, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])
