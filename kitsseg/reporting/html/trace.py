"""What each number of the page was computed from, and the command that computes it again."""

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from kitsseg.reporting import comparisons, regions, strata, tables
from kitsseg.reporting.formats import title, words
from kitsseg.reporting.html.markup import Html, anchor, el, html_table, join, source_of
from kitsseg.reporting.html.plots import interval_text, signed
from kitsseg.reporting.runs import Job
from kitsseg.reporting.sites import combine
from kitsseg.reporting.table_rows import Number, Row
from kitsseg.reporting.tables import Study

UNKNOWN = "not recorded"
INTRODUCTION = (
    "Each number in the tables links to its cases and runs below. The command there computes it again "
    "from the records; with recompute=true, it segments the cases again with the checkpoints. "
    "For a single case, hover over its number: the tooltip shows its name for cell=. "
    "Hashes are SHA-256 of the files, as computed by sha256sum."
)


def case_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return the column heads, and one line per validation case with its volume and its Dice."""
    target = rows[0].labels.target
    columns: dict[str, dict[str, Number]] = {}
    for row in rows:
        for case, entry in row.cases("validation").items():
            if (ml := strata.true_ml(entry, target)) is not None:
                found = Number(f"{ml:.1f}", [row], [case], "volume", case)
                columns.setdefault(f"{title(target)} [ml]", {})[case] = found
    for region, row in product(regions.target_first(rows[0].labels), rows):
        columns[f"{words(region)}: {row.label}"] = {
            case: Number(f"{dice:.3f}", [row], [case], "case", row.name, region, case)
            for case, dice in row.validation_dice(region).items()
        }
    cases = sorted({case for row in rows for case in row.cases("validation")})
    return ["Case", *columns], [[c, *(column.get(c, "–") for column in columns.values())] for c in cases]


def tuning_cells(row: Row) -> list[Number]:
    """Return the mean change of Dice by fine-tuning in each region of Table 1, target first."""
    found = []
    for region in regions.target_first(row.labels):
        change, before = row.fine_tuning_change(region), row.validation_dice(region, after=False)
        cases = [case for case in row.validation_dice(region) if case in before]
        text = f"{signed(change.mean)}{interval_text(change)}" if cases else "–"
        found.append(Number(text, [row], cases, "tuning", row.name, region))
    return found


def best_cells(study: Study) -> list[Number]:
    """Return the mean of the best row of each region, without and with correction for the choice."""
    return [
        Number(f"{value:.3f}", study.rows, best.cases, name, best.region)
        for best in study.best
        for name, value in (("best", best.mean), ("best_corrected", best.corrected))
    ]


def numbers(study: Study) -> dict[str, Number]:
    """Return all numbers of the page by name, in the order of the page."""
    if not study.rows:
        return {}
    lines: list[Sequence[str]] = [*tables.table_lines(study), *tables.table_lines(study, after=False)]
    lines.append(best_cells(study))
    lines += comparisons.comparison_cells(study.comparisons)
    lines += case_table(study.rows)[1]
    lines += combine.lines(combine.combine(study))
    lines += [line for groups in study.strata for line in strata.stratum_table(groups)[1]]
    lines += [tuning_cells(row) for row in study.rows if row.is_fine_tuned and row.cases("validation")]
    cells = (cell for line in lines for cell in line)
    return {cell.name: cell for cell in cells if isinstance(cell, Number) and cell and cell.cases}


def command(searched: Any, cell: str) -> str:
    """Return the command that computes a number again; ``searched`` is the value of ``runs``."""
    arguments = (shlex.quote(f"{key}={_hydra(v)}") for key, v in (("runs", searched), ("cell", cell)))
    return f"python -m kitsseg.report {' '.join(arguments)}"


def _hydra(value: Any) -> str:
    """Return a text, list or dict as Hydra writes it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_hydra(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_hydra, value)) + "]"
    text = str(value)
    if re.fullmatch(r"[\w./+-]*[A-Za-z/][\w./+-]*", text, re.ASCII):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def sources(study: Study, jobs: Sequence[Job], searched: Any) -> Iterator[Html]:
    """Yield the runs, the cases with their hashes, and the cases and command of each number.

    ``searched`` is the value of ``runs`` in `kitsseg.report`.
    """
    if not (found := numbers(study)):
        return
    yield el("p", INTRODUCTION)
    yield join(el("h3", "Runs and checkpoints"), run_table(study.rows, jobs))
    groups: dict[str, list[Number]] = {}
    for each in found.values():
        groups.setdefault(source_of(each), []).append(each)
    yield el("h3", "Numbers")
    for name, group in groups.items():
        first = group[0]
        if name == anchor(first.cases[0]):
            continue  # in the table of cases
        labels = " and ".join(row.label for row in first.rows)
        lines = "\n".join(f"{each}: {command(searched, each.name)}" for each in group)
        cases = el("p", f"Cases: {', '.join(first.cases)}", id=name)
        text = f"{labels}, cases: {len(first.cases)} ({first.name})"
        listed = el("pre", lines, tabindex=0, role="region", aria_label=text)
        yield el("details", el("summary", text), cases, listed)
    yield el("h3", "Cases")
    table = hash_table(study.rows)
    yield el("details", el("summary", "Hashes of the files of all cases"), table)


def run_table(rows: Sequence[Row], jobs: Sequence[Job]) -> Html:
    """Return a table with row, folder, seed, commit and fingerprints of each run."""
    folders = {id(job.record): job.folder for job in jobs}
    body = []
    for row, run in [(each, run) for each in rows for run in each.runs]:
        found = "; ".join(f"{stage}: {sha256}" for stage, sha256 in run.checkpoints.items())
        versions = (run.environment.get(name) for name in ("commit", "kitsseg"))
        version = next(filter(None, versions), UNKNOWN)
        folder = folders[id(run)].name if id(run) in folders else UNKNOWN
        body.append([row.label, folder, run.seed, version, el("code", found) if found else UNKNOWN])
    head = ["Row", "Folder", "Seed", "Commit or version", "Checkpoints (SHA-256)"]
    return html_table(head, body, "Runs and checkpoints", "config")


def hash_table(rows: Sequence[Row]) -> Html:
    """Return a table with the hashes of each case; several if the files differ between runs."""
    runs = [run for row in rows for run in row.runs]
    body = []
    for case in sorted({case for run in runs for part in run.final.values() for case in part}):
        found: dict[str, list[str]] = {}
        for kind, sha256 in (item for run in runs for item in run.hashes.get(case, {}).items()):
            found.setdefault(kind, []).append(sha256)
        lines = [f"{kind}: {' or '.join(dict.fromkeys(values))}" for kind, values in found.items()]
        shown = el("code", "; ".join(lines)) if lines else UNKNOWN
        body.append([el("span", case, id=anchor(case)), shown])
    return html_table(["Case", "SHA-256"], body, "Hashes of the files of all cases", "config")
