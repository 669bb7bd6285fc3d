"""The report section on provenance: state of every job, configurations and environment."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kitsseg.reporting.html.markup import Html, el, join
from kitsseg.reporting.html.result_sections import folded_text, html_table
from kitsseg.reporting.runs import Job
from kitsseg.reporting.table_rows import Row, without_module

# Keys that do not influence the scores or that differ between the runs of one row.
IGNORED_KEYS = ("paths.", "logger.", "seed", "split.fold")


def provenance(jobs: Sequence[Job], rows: Sequence[Row]) -> Html:
    """Return the whole section."""
    parts = [el("h3", "Runs"), job_table(jobs, rows)]
    if rows:
        parts += [el("h3", "Configurations"), *configurations(rows)]
        parts += [el("h3", "Environment"), environment(rows)]
    return join(*parts)


def job_table(jobs: Sequence[Job], rows: Sequence[Row]) -> Html:
    """Return a table with one line per job, including failed ones."""
    labels = {id(run): row.label for row in rows for run in row.runs}
    body: list[list[object]] = []
    for job in jobs:
        good = job.state == "complete"
        state = el("span" if good else "strong", job.state, class_=None if good else "bad")
        state = join(state, f": {job.reason}" if job.reason else None)
        line: list[object] = [job.folder.name, state, "–", "–", "–", "–", "–", "–"]
        if (record := job.record) is not None:
            duration = _clock(sum(record.seconds.values()))
            line[2:6] = [labels[id(record)], record.seed, _epochs(record.epochs), duration]
            line[7] = record.version
        if job.changed is not None:
            line[6] = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.changed))
        body.append(line)
    head = [
        "Folder", "State", "Row", "Seed", "Epochs (best)", "Duration", "Last change", "Record version",
    ]  # fmt: skip
    return html_table(head, body, "Runs", "runs")


def configurations(rows: Sequence[Row]) -> list[Html]:
    """Return the differences between the rows' configurations, then each configuration in full."""
    flat = [flatten(row.runs[0].config) for row in rows]
    body = [
        [name, *(el("code", values.get(name, "–")) for values in flat)]
        for name in dict.fromkeys(name for values in flat for name in values)
        if len({values.get(name) for values in flat}) > 1 and not name.startswith(IGNORED_KEYS)
    ]
    if len(rows) == 1:
        out = [el("p", "There is only one configuration.")]
    elif not body:
        out = [el("p", "The configurations are equal, except for seeds, folders and loggers.")]
    else:
        head = ["Key", *(row.label for row in rows)]
        out = [html_table(head, body, "Differences between configurations", "config")]
        out.append(el("p", "Seeds, folders and loggers are not compared.", class_="note"))
    for row in rows:
        text = json.dumps(row.runs[0].config, indent=1)
        out.append(folded_text(f"Configuration of {row.label}", text))
    return out


def environment(rows: Sequence[Row]) -> Html:
    """Return commit, versions and machine of every row; one column if all rows are equal."""
    columns: dict[str, dict[str, str]] = {}
    for row in rows:
        found: dict[str, dict[str, None]] = {}
        for name, value in (item for run in row.runs for item in run.environment.items()):
            found.setdefault(name, {})[str(value) or "unknown"] = None
        columns[row.label] = {name: ", ".join(values) for name, values in found.items()}
    names = list(dict.fromkeys(name for values in columns.values() for name in values))
    first, *others = columns.values()
    if all(values == first for values in others):
        columns = {"All rows": first}
    body = [[name, *(values.get(name, "–") for values in columns.values())] for name in names]
    return html_table(["Property", *columns], body, "Environment", "config")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return dotted keys with their values as text; class paths of kitsseg lose their module."""
    out: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            out |= flatten(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            out[f"{prefix}{name}"] = without_module(text) if name == "_target_" else text
    return out


def _epochs(epochs: Mapping[str, Any]) -> str:
    """Return number and best epoch of each stage, such as ``25 (21), 8 (3)``."""
    parts = []
    for stage in epochs.values():
        best = stage.get("best")  # records of version 1 lack it
        parts.append(f"{stage.get('run')}" + ("" if best is None else f" ({best})"))
    return ", ".join(parts) if parts else "–"


def _clock(seconds: float) -> str:
    """Return a duration such as ``1:05:09``, or a dash for 0."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if seconds else "–"
