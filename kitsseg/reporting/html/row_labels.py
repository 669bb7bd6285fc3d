"""Shorten long row labels, such as ``B attn_unet``; the page header explains them."""

import string
from dataclasses import replace

from kitsseg.reporting.table_rows import Row
from kitsseg.reporting.tables import Study

MAX_LENGTH = 26


def shorten_labels(study: Study) -> tuple[Study, dict[str, str]]:
    """Return the study with short labels, and ``{short: full}`` in row order.

    Labels change only if one of them is longer than `MAX_LENGTH`. Comparisons without a common case are
    dropped.
    """
    full = [row.label for row in study.rows]
    short = full
    if any(len(label) > MAX_LENGTH for label in full):
        short = [f"{letters(i)} {label.split(', ')[0][:MAX_LENGTH]}" for i, label in enumerate(full)]
    renamed: dict[int, Row] = {
        id(row): replace(row, label=label) for row, label in zip(study.rows, short, strict=True)
    }
    comparisons = [
        replace(c, first=renamed[id(c.first)], second=renamed[id(c.second)])
        for c in study.comparisons
        if c.paired.cases
    ]
    strata = [
        (groups, [replace(s, row=renamed[id(s.row)]) for s in scores]) for groups, scores in study.strata
    ]
    rows = list(renamed.values())
    names = dict(zip(short, full, strict=True))
    return replace(study, rows=rows, comparisons=comparisons, strata=strata), names


def letters(number: int) -> str:
    """Return A for 0, Z for 25, AA for 26, and so on."""
    text = ""
    while number >= 0:
        number, rest = divmod(number, 26)
        text, number = string.ascii_uppercase[rest] + text, number - 1
    return text
