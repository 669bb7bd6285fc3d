"""Formatting of cells and tables."""

import math

from kitsseg.evaluation.stats import Interval
from kitsseg.reporting import formats

NAN = math.nan


def test_numbers() -> None:
    assert formats.interval(Interval(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
    assert formats.interval(Interval(0.5, 0.25, 0.75), spread=0.01) == "0.500 ± 0.010 [0.250, 0.750]"
    assert formats.interval(Interval(-0.5, -0.75, 0.25), "+") == "-0.500 [-0.750, +0.250]"
    assert formats.interval(Interval(0.5, NAN, NAN)) == "0.500"
    assert (
        formats.interval(Interval(NAN, NAN, NAN)) == formats.number(NAN) == formats.p_value(NAN) == "–"
    )
    assert [formats.p_value(p) for p in (1.0, 0.0123, 0.001, 0.00099)] == [
        "1.000",
        "0.012",
        "0.001",
        "<0.001",
    ]


def test_csv_is_exact_and_undefined_cells_are_empty() -> None:
    assert formats.csv_text("abc", [(1 / 3, NAN, 2)]) == "a,b,c\n0.3333333333333333,,2\n"


def test_markdown_is_aligned() -> None:
    assert (
        formats.markdown(("a", "bcd"), [("xyz", "1")]) == "| a   | bcd |\n|-----|-----|\n| xyz | 1   |"
    )


def test_latex_escapes_special_characters() -> None:
    text = formats.latex(("a", "b"), [[("x_1 & {$5^2}", "≤ 4 %")], [("y", "–")]], r"± 1 \ > 0 ~")
    assert r"x\_1 \& \{\$5\^{}2\} & $\le$ 4 \% \\" in text
    assert r"\caption{$\pm$ 1 \textbackslash{} $>$ 0 \~{}}" in text
    assert text.count(r"\midrule") == 2 and r"\begin{tabular}{lc}" in text
