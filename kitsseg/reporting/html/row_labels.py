"""Short names for rows whose options make them long: ``B attn_unet``, explained once in the head."""

import string
from dataclasses import replace

from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.table_rows import Row
from kitsseg.reporting.tables import Study

LONGEST = 26


def shorten(study: Study) -> tuple[Study, dict[str, str]]:
    """The study with short labels, and ``{short: full}``, in the order of the rows.

    Rows keep their labels unless one is longer than `LONGEST`. Pairs without a common case are left
    out: a page has nothing to show of them.
    """
    full = [row.label for row in study.rows]
    short = full
    if any(len(label) > LONGEST for label in full):
        short = [f"{letters(i)} {label.split(', ')[0][:LONGEST]}" for i, label in enumerate(full)]
    renamed = {id(row): replace(row, label=name) for row, name in zip(study.rows, short, strict=True)}

    def again(row: Row) -> Row:
        return renamed[id(row)]

    differences: list[Comparison] = [
        replace(each, first=again(each.first), second=again(each.second))
        for each in study.differences
        if each.paired.cases
    ]
    strata = [
        (divided, [replace(figures, row=again(figures.row)) for figures in found])
        for divided, found in study.strata
    ]
    rows = list(renamed.values())
    named = dict(zip(short, full, strict=True))
    return replace(study, rows=rows, differences=differences, strata=strata), named


def letters(number: int) -> str:
    """0 is A, 25 is Z, 26 is AA."""
    text = ""
    while number >= 0:
        number, rest = divmod(number, 26)
        text, number = string.ascii_uppercase[rest] + text, number - 1
    return text
