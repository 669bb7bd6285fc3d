"""What was run: every job and what became of it, how configurations differ, code and machine."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.html.result_sections import code, sheet
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.runs import Job
from kitsseg.reporting.table_rows import Row

# Where a run put its files says nothing about its figures.
LEFT_OUT = ("paths.", "logger.", "seed", "split.fold")


def what_was_run(jobs: Sequence[Job], rows: Sequence[Row]) -> Html:
    """All of it."""
    parts = [el("h3", "Runs"), run_table(jobs, rows)]
    if rows:
        parts += [
            el("h3", "Configurations"),
            *configurations(rows),
            el("h3", "Environment"),
            environment(rows),
        ]
    return join(*parts)


def run_table(jobs: Sequence[Job], rows: Sequence[Row]) -> Html:
    """Every job: nothing is dropped silently."""
    label = {id(run): row.label for row in rows for run in row.runs}
    body = []
    for job in jobs:
        record = job.record
        fine = job.state == "complete"
        state = el("span" if fine else "strong", job.state, class_=None if fine else "bad")
        state = join(state, f": {job.reason}" if job.reason else None)
        body.append(
            [
                job.folder.name,
                state,
                label.get(id(record), "–"),
                "–" if record is None else record.seed,
                "–" if record is None else _epochs(record.epochs),
                "–" if record is None else _clock(sum(record.seconds.values())),
                "–"
                if job.changed is None
                else time.strftime("%Y-%m-%d %H:%M", time.localtime(job.changed)),
                "–" if record is None else record.version,
            ]
        )
    head = ["Folder", "State", "Row", "Seed", "Epochs (best)", "Time", "Ended", "Record"]
    return sheet(head, body, "Runs", "runs")


def configurations(rows: Sequence[Row]) -> list[Html]:
    """What differs, side by side, and each in full."""
    flat = [flatten(_first(row).config) for row in rows]
    names = list(dict.fromkeys(name for each in flat for name in each))
    differing = [
        name
        for name in names
        if len({each.get(name) for each in flat}) > 1 and not name.startswith(LEFT_OUT)
    ]
    out = []
    if len(rows) == 1:
        out.append(el("p", "There is one row, so nothing differs."))
    elif not differing:
        out.append(el("p", "The rows' configurations don't differ but in seeds and places of files."))
    else:
        body = [[name, *(el("code", each.get(name, "–")) for each in flat)] for name in differing]
        head = ["Key", *(row.label for row in rows)]
        out.append(sheet(head, body, "Differences of configurations", "config"))
        out.append(el("p", "Seeds, folders and loggers aside.", class_="note"))
    out += (code(f"All of {row.label}", json.dumps(_first(row).config, indent=1)) for row in rows)
    return out


def environment(rows: Sequence[Row]) -> Html:
    """Commit, versions and machine of every row; one column if they are all the same."""
    columns: dict[str, dict[str, str]] = {}
    for row in rows:
        found: dict[str, dict[str, None]] = {}
        for run in row.runs:
            for name, value in getattr(run, "environment", {}).items():
                found.setdefault(name, {})[str(value)] = None
        columns[row.label] = {
            name: ", ".join(v or "unknown" for v in values) for name, values in found.items()
        }
    names = list(dict.fromkeys(name for each in columns.values() for name in each))
    if len({json.dumps(each, sort_keys=True) for each in columns.values()}) == 1:
        columns = {"all rows": next(iter(columns.values()))}
    body = [[name, *(each.get(name, "–") for each in columns.values())] for name in names]
    return sheet(["What", *columns], body, "Environment", "config")


def _first(row: Row) -> Record:
    """A row's runs differ only in seed and fold, so one configuration speaks for all."""
    (first, *_) = row.runs
    assert isinstance(first, Record)
    return first


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted keys and their values as text."""
    out: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            out |= flatten(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return out


def _epochs(epochs: Mapping[str, Any]) -> str:
    """``25 (21), 8 (3)``: how many ran and which was best, by stage; version 1 names no best."""
    parts = []
    for stage in epochs.values():
        best = stage.get("best")
        parts.append(f"{stage.get('run')}" + (f" ({best})" if isinstance(best, int) else ""))
    return ", ".join(parts) if parts else "–"


def _clock(seconds: float) -> str:
    """``1:05:09``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if seconds else "–"
