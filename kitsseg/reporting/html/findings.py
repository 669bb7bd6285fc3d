"""What the numbers say, in sentences that claim no more than they do."""

from collections.abc import Sequence

import numpy as np

from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.formats import p_value
from kitsseg.reporting.html.cases import by_case, is_clear, mean, tuning
from kitsseg.reporting.html.plots import signed, span
from kitsseg.reporting.runs import Job
from kitsseg.reporting.table_rows import Row
from kitsseg.reporting.tables import is_tuned

MOST = 4  # sentences of one kind


def sentences(rows: Sequence[Row], comparisons: Sequence[Comparison], jobs: Sequence[Job]) -> list[str]:
    """The findings, the most important first; empty if there is nothing to say."""
    pairs = [each for each in comparisons if each.region == "tumour" and each.paired.cases]
    out = highest(rows, pairs)
    out += [compared(each) for each in pairs][:MOST]
    out += [tuned(row) for row in rows if is_tuned(row)][:MOST]
    out += [text for row in rows if (text := missed(row))][:MOST]
    if lost := sum(job.record is None for job in jobs):
        out.append(f"{lost} of {count(len(jobs), 'run')} left no figures: see what was run.")
    return out


def highest(rows: Sequence[Row], pairs: Sequence[Comparison]) -> list[str]:
    """Which row has the highest mean tumour Dice, and from which others the data tell it."""
    scored = [(mean(row, "tumour"), row) for row in rows]
    scored = [(interval, row) for interval, row in scored if not np.isnan(interval.mean)]
    if not scored:
        return []
    said = {
        id(row): f"{interval.mean:.3f}{span(interval.low, interval.high)} over "
        f"{count(len(by_case(row, 'tumour')), 'validation case')} and {count(len(row.runs), 'run')}"
        for interval, row in scored
    }
    if len({tuple(by_case(row, "tumour")) for _, row in scored}) > 1:
        each = [f"{row.label}: mean tumour Dice {said[id(row)]}." for _, row in scored][:MOST]
        return ["The rows were validated on different cases, so their means don't compare.", *each]
    interval, row = max(scored, key=lambda each: each[0].mean)
    if len(scored) == 1:
        return [f"{row.label}: mean tumour Dice {said[id(row)]}."]
    alike = [
        (each.second if each.first is row else each.first).label
        for each in pairs
        if row in (each.first, each.second) and not is_clear(each)
    ]
    doubt = f"; these data don't tell it from {' or '.join(alike)}" if alike else ""
    return [f"The highest mean tumour Dice is that of {row.label}: {said[id(row)]}{doubt}."]


def compared(each: Comparison) -> str:
    """A pair of rows: told apart by the data, or not."""
    d, cases = each.paired.difference, each.paired.cases
    head = (
        f"{each.first.label} less {each.second.label}: {signed(d.mean)} in {each.region} Dice"
        f"{span(d.low, d.high)} on the {count(cases, 'case')} of both"
    )
    if np.isnan(d.low):
        return f"{head}; one case can't tell them apart."
    if not is_clear(each):
        return f"{head}: these data don't tell the two apart (p {chance(each.p_holm)})."
    seeds = min(len({run.seed for run in row.runs}) for row in (each.first, each.second))
    limit = "; with one seed this speaks of these weights, not of the recipe" if seeds == 1 else ""
    better = each.first if d.mean > 0 else each.second
    return f"{head}: {better.label} scores higher (p {chance(each.p_holm)}){limit}."


def tuned(row: Row) -> str:
    """What fine-tuning did."""
    found = tuning(row, "tumour")
    d = found.difference
    head = f"Fine-tuning changed the tumour Dice of {row.label} by {signed(d.mean)}{span(d.low, d.high)}"
    if np.isnan(d.low) or d.low <= 0 <= d.high:
        return f"{head}: no clear change."
    return f"{head}: {'a gain' if d.mean > 0 else 'a loss'} on these cases."


def missed(row: Row) -> str:
    """In how many cases no voxel of the tumour was found; empty if in none."""
    scores = by_case(row, "tumour")
    lost = sorted(case for case, value in scores.items() if value == 0)
    if not lost:
        return ""
    named = ", ".join(lost[:5]) + (", …" if len(lost) > 5 else "")
    return f"{row.label} hit no voxel of the tumour in {len(lost)} of {len(scores)} cases ({named})."


def chance(p: float) -> str:
    """``= 0.031`` or ``< 0.001``."""
    text = p_value(p)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


def count(number: int, what: str) -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {what}" + ("" if number == 1 else "s")
