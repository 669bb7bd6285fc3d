"""Summarise the results in sentences."""

from collections.abc import Sequence

import numpy as np

from kitsseg.reporting.comparisons import Comparison
from kitsseg.reporting.formats import p_value, words
from kitsseg.reporting.html.plots import interval_text, signed
from kitsseg.reporting.runs import Job
from kitsseg.reporting.sites.combine import Pooled
from kitsseg.reporting.table_rows import Row

MAX_SENTENCES = 4  # sentences of one kind


def sentences(
    rows: Sequence[Row],
    comparisons: Sequence[Comparison],
    jobs: Sequence[Job],
    pooled: Sequence[Pooled] = (),
) -> list[tuple[str, str]]:
    """Return the findings, most important first, each with the section that has its numbers."""
    target = rows[0].labels.target
    compared = [c for c in comparisons if c.region == target and c.paired.cases]
    over_sites = [describe_sites(p) for p in pooled if p.region == target]
    out = [("sites", text) for text in over_sites[:MAX_SENTENCES]]
    out += [("table", text) for text in highest_mean(rows, compared)]
    out += [("sure", describe_comparison(c)) for c in compared[:MAX_SENTENCES]]
    out += [("tuning", describe_fine_tuning(row)) for row in rows if row.is_fine_tuned][:MAX_SENTENCES]
    out += [("cases", text) for row in rows if (text := describe_misses(row))][:MAX_SENTENCES]
    if missing := sum(job.record is None for job in jobs):
        text = f"{missing} of {plural(len(jobs), 'run')} produced no results; see “Runs”."
        out.append(("run", text))
    return out


def highest_mean(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> list[str]:
    """Return which row has the highest mean Dice of the target region, and which rows do not differ."""
    target = rows[0].labels.target
    scored: list[tuple[float, Row, str]] = []
    for row in rows:
        mean = row.scores("validation", target).cell().mean
        cases = plural(len(row.validation_dice(target)), "validation case")
        text = f"{mean.mean:.3f}{interval_text(mean)} over {cases} and {plural(len(row.runs), 'run')}."
        if not np.isnan(mean.mean):
            scored.append((mean.mean, row, f"{row.label}, {text}"))
    if len({tuple(row.validation_dice(target)) for _, row, _ in scored}) > 1:
        lines = [text for *_, text in scored[:MAX_SENTENCES]]
        text = f"The rows have a {words(target)} Dice for different cases"
        return [f"{text}, so their means are not comparable.", *lines]
    if not scored:
        return [f"No validation case has a defined {words(target)} Dice."]
    if len(scored) < 2:
        return [text for *_, text in scored]
    _, row, text = max(scored, key=lambda item: item[0])
    own = [
        (c, c.second if c.first is row else c.first) for c in comparisons if row in (c.first, c.second)
    ]
    equivalent = [other.label for c, other in own if c.verdict == "equivalent"]
    decided = ("better", "worse", "equivalent")
    unclear = [other.label for c, other in own if c.verdict not in decided]
    limit = f" It is equivalent to {' and '.join(equivalent)}." if equivalent else ""
    if unclear:
        limit += f" Whether it is better than {' or '.join(unclear)} is undecided."
    if uncompared := len(scored) - 1 - len(own):
        limit += f" It was not compared with {plural(uncompared, 'other row')}."
    return [f"Highest mean {words(target)} Dice: {text}{limit}"]


def describe_sites(p: Pooled) -> str:
    """Return the mean over sites of a model, or of the difference between two."""
    mean, new, what = p.combined.mean, p.combined.new_site, f"{words(p.region)} Dice"
    start = f"Mean {what} over {len(p.sites)} sites: {p.model}"
    if p.is_difference:
        includes = mean.low <= 0 <= mean.high
        limit = "; the interval includes 0" if includes else ""
        return f"{start}, {signed(mean.mean)}{interval_text(mean)}{limit}."
    text = f"{start}, {mean.mean:.3f}{interval_text(mean)}"
    if not np.isnan(new.low):
        text += f"; the mean at a new site is expected between {new.low:.3f} and {new.high:.3f}"
    return f"{text}."


def describe_comparison(c: Comparison) -> str:
    """Return the verdict on two rows and their difference."""
    d = c.paired.difference
    text = (
        f"{signed(d.mean)} {words(c.region)} Dice{interval_text(d)} on "
        f"{plural(c.paired.cases, 'common case')}"
    )
    first, second = c.first.label, c.second.label
    if np.isnan(d.low):
        return f"{first} minus {second}: {text}; one case is too few for a test."
    text += f", p = {p_value(c.p_holm)}.".replace("= <", "< ")
    verdicts = {
        "better": f"{first} is better than {second}",
        "worse": f"{first} is worse than {second}",
        "equivalent": f"{first} and {second} are equivalent within {c.margin:g}",
        "undecided": f"{first} against {second}: undecided",
        "these weights differ": (
            f"The networks {first} and {second} differ; with other seeds, they may not"
        ),
    }
    return f"{verdicts[c.verdict]}: {text}"


def describe_fine_tuning(row: Row) -> str:
    """Return by how much fine-tuning changed the Dice of the target region."""
    target = row.labels.target
    d = row.fine_tuning_change(target)
    if np.isnan(d.mean):
        return (
            f"In every validation case, the {words(target)} Dice of {row.label} is undefined before or "
            "after fine-tuning."
        )
    change = f"{signed(d.mean)}{interval_text(d)}"
    text = f"Fine-tuning changed the {words(target)} Dice of {row.label} by {change}"
    if np.isnan(d.low):
        return f"{text}; one case is too few for an interval."
    if d.low <= 0 <= d.high:
        return f"{text}; no clear change, since the interval includes 0."
    return f"{text}; a {'gain' if d.mean > 0 else 'loss'}, since the interval excludes 0."


def describe_misses(row: Row) -> str:
    """Return in how many cases the target region was missed completely; empty if in none."""
    target = row.labels.target
    scores = row.validation_dice(target)
    missed = sorted(case for case, value in scores.items() if value == 0)
    if not missed:
        return ""
    names = ", ".join(missed[:5]) + (", …" if len(missed) > 5 else "")
    count = f"{len(missed)} of {len(scores)} cases"
    return f"{row.label} has a {words(target)} Dice of 0 in {count} ({names})."


def plural(number: int, noun: str) -> str:
    """Return ``1 case`` or ``2 cases``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
