"""Decide which panels the W&B dashboard of a sweep shows, without importing W&B."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kitsseg.data.labels import KITS19, Labels
from kitsseg.reporting import formats, regions, showcase, tables
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.runs import Job
from kitsseg.tracking import run_content, tracking_file

BY_MODEL = "By model"
SLICES = tuple(f"slices/{role}" for role in showcase.ROLES)


class Panel(NamedTuple):
    """One panel of a dashboard."""

    kind: str  # bars (one per model), curves, points (one per run), table or media
    title: str
    names: tuple[str, ...]  # metrics, tables or media that it shows
    x: str | None = None  # metric of the horizontal axis of curves and points


class DashboardLayout(NamedTuple):
    """Title, runs and content of a workspace and a report."""

    title: str
    project: str
    entity: str | None  # W&B entity of the runs; None for the user's default
    group: str | None  # common group of the runs
    ids: list[str]  # W&B ids of the runs
    sections: dict[str, list[Panel]]  # panels by title of the section
    table: str  # Table 1 as Markdown; empty without a finished run
    server: str | None = None  # URL of the W&B server of the runs; None for the configured one


def make_layout(
    jobs: Sequence[Job], folder: Path, project: str | None, entity: str | None
) -> DashboardLayout:
    """Return the layout for those ``jobs`` of a sweep's or run's ``folder`` that were logged to W&B.

    ``project`` and ``entity`` override those to which the runs were logged.
    """
    folders = [job.folder for job in jobs]
    read = {path: tracking_file.read(path, "wandb") for path in [*folders, folder]}
    stored = {path: values for path, values in read.items() if values.get("id")}
    if not stored:
        raise ValueError(f"runs={folder}: contains no run that was logged with logger=wandb")
    first = next(iter(stored.values()))
    groups = {values.get("group") for values in stored.values()}
    group = groups.pop() if len(groups) == 1 else None
    records = [job.record for job in jobs if job.folder in stored and job.record is not None]
    logged = {f"slices/{shown.role}" for path in stored for shown in showcase.read(path)}
    for record in records:
        logged |= {"cases", *run_content.summary_metrics(record)}
        for stage, prefix in (("train", ""), ("finetune", "finetune/")):
            logged |= {prefix + name for row in record.curves.get(stage, []) for name in row}
    if folder in stored and folder not in folders:  # a run of the sweep itself
        logged |= {"table1", "report"}
    return DashboardLayout(
        title=group if group is not None else folder.resolve().name,
        project=first["project"] if project is None else project,
        entity=first.get("entity") if entity is None else entity,
        group=group,
        ids=[values["id"] for values in stored.values()],
        # Without any record, no region was logged.
        sections=make_sections(logged, records[0].label_set if records else KITS19),
        table=_table1(records) if records else "",
        server=first.get("server"),
    )


def make_sections(logged: set[str], labels: Labels) -> dict[str, list[Panel]]:
    """Return the panels by section, limited to names in ``logged``."""
    names = {(column.part, column.region): column.metric for column in regions.columns(labels)}
    ordered = regions.target_first(labels)
    val = {region: names["validation", region] for region in ordered}
    train = [names["train", region] for region in ordered]
    first = ordered[0]
    points = f"{formats.title(first)}, one point per run"
    sections: dict[str, list[Panel]] = {
        "Table 1": [Panel("table", "Table 1", ("table1",)), Panel("media", "Report", ("report",))],
        BY_MODEL: [
            Panel("bars", formats.words(name), (f"final/{name}",)) for name in [*val.values(), *train]
        ],
        "Before and after fine-tuning": [
            *(
                Panel("bars", f"Validation {formats.words(region)}", (f"before/{name}", f"final/{name}"))
                for region, name in val.items()
            ),
            Panel("points", points, (f"final/{val[first]}",), f"before/{val[first]}"),
        ],
        "Case by case": [Panel("table", "Cases", ("cases",))],
        "Slices": [Panel("media", "Best, median and worst case", SLICES)],
        "Learning curves": [
            Panel("curves", f"{title}{name}", (f"{prefix}{name}",), f"{prefix}epoch")
            for prefix, title in (("", "stage one: "), ("finetune/", "stage two: "))
            for name in ("train/loss", "val/loss", *(f"val/{region}_dice" for region in ordered))
        ],
    }
    if not any(name.startswith("before/") for name in logged):
        del sections["Before and after fine-tuning"]
    for title, panels in sections.items():
        known = [p._replace(names=tuple(name for name in p.names if name in logged)) for p in panels]
        sections[title] = [p for p in known if p.names and (p.x is None or p.x in logged)]
    return {title: panels for title, panels in sections.items() if panels}


def describe(layout: DashboardLayout) -> str:
    """Return the layout as text, one line per panel."""
    ids = f"{len(layout.ids)} runs ({', '.join(layout.ids)})"
    runs = f"group {layout.group}" if layout.group else ids
    entity = layout.entity if layout.entity is not None else "(your default entity)"
    lines = [f"workspace and report '{layout.title}' in {entity}/{layout.project}, {runs}"]
    for title, panels in layout.sections.items():
        lines.append(f"  {title}")
        for panel in panels:
            axis = f" by {panel.x}" if panel.x is not None else ""
            lines.append(f"    {panel.kind:6} {panel.title}: {', '.join(panel.names)}{axis}")
    return "\n".join(lines)


def _table1(records: Sequence[Record]) -> str:
    study, lines = tables.study(records), []
    for row, cells in zip(study.rows, study.final, strict=True):
        lines.append([row.label, *(formats.interval(cell.mean, spread=cell.sd) for cell in cells)])
    return formats.markdown(tables.head(study.labels), lines)
