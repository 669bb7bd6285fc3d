"""Decide which panels the W&B dashboard of a sweep shows, without importing W&B."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kitsseg.reporting import formats, showcase, tables
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.runs import Job
from kitsseg.tracking import run_content, tracking_file

TRACKER = "wandb"
SLICES = tuple(f"slices/{role}" for role in showcase.ROLES)


@dataclass(frozen=True)
class Panel:
    """One panel of a dashboard.

    Attributes:
        kind: ``bars`` (one per model), ``curves``, ``points`` (one per run), ``table`` or ``media``.
        title: title of the panel.
        names: metrics, tables or media that it shows.
        x: metric of the horizontal axis of ``curves`` and ``points``.
    """

    kind: str
    title: str
    names: tuple[str, ...]
    x: str | None = None


@dataclass(frozen=True)
class DashboardLayout:
    """Content of a workspace and a report.

    Attributes:
        title: title of both.
        project: W&B project of the runs.
        entity: W&B entity of the runs; None for the user's default.
        group: common group of the runs; empty if there is none.
        ids: W&B ids of the runs.
        sections: panels by title of the section.
        table: Table 1 as Markdown.
    """

    title: str
    project: str
    entity: str | None
    group: str
    ids: list[str]
    sections: dict[str, list[Panel]]
    table: str


def make_layout(
    jobs: Sequence[Job], folder: Path, project: str | None, entity: str | None
) -> DashboardLayout:
    """Return the layout for the runs of ``folder`` that were logged to W&B.

    Args:
        jobs: jobs in ``folder``.
        folder: folder of a sweep or of a run.
        project: overrides the project to which the runs were logged.
        entity: overrides the entity to which the runs were logged.

    Raises:
        ValueError: no run was logged to W&B.
    """
    stored = {job.folder: tracking_file.read(job.folder, TRACKER) for job in jobs}
    stored = {path: values for path, values in stored.items() if values.get("id")}
    if not stored:
        raise ValueError(f"runs={folder}: contains no run that was logged with logger=wandb")
    first = next(iter(stored.values()))
    groups = {values.get("group") for values in stored.values()}
    group = groups.pop() if len(groups) == 1 else None
    sweep_run = tracking_file.read(folder, TRACKER) if folder not in stored else {}
    records = [job.record for job in jobs if job.folder in stored and job.record is not None]
    names = {name for record in records for name in logged_metrics(record)}
    names |= {f"slices/{shown.role}" for path in stored for shown in showcase.read(path)}
    names |= {"cases"} if records else set()
    names |= {"table1", "report"} if sweep_run else set()
    return DashboardLayout(
        title=group if group is not None else folder.resolve().name,
        project=first["project"] if project is None else project,
        entity=first.get("entity") if entity is None else entity,
        group="" if group is None else group,
        ids=[values["id"] for values in (*stored.values(), sweep_run) if values.get("id")],
        sections=make_sections(names),
        table=formats.markdown(tables.HEAD, _table_rows(records)) if records else "",
    )


def logged_metrics(record: Record) -> set[str]:
    """Return the names under which the metrics and curves of a run are logged."""
    names = set(run_content.summary_metrics(record))
    for stage, prefix in (("train", ""), ("finetune", "finetune/")):
        for row in record.curves.get(stage, []):
            names |= {prefix + name for name in row if name != "lr"}
    return names


def make_sections(logged: set[str]) -> dict[str, list[Panel]]:
    """Return the panels by section, limited to names in ``logged``."""
    sections: dict[str, list[Panel]] = {
        "Table 1": [
            Panel("table", "Table 1", ("table1",)),
            Panel("media", "Report", ("report",)),
        ],
        "By model": [
            Panel("bars", f"{part} {region}", (f"final/{part}_{region}",))
            for part in ("val", "train")
            for region in ("tumor", "kidney")
        ],
        "Before and after fine-tuning": [
            Panel("bars", "Validation tumour", ("before/val_tumor", "final/val_tumor")),
            Panel("bars", "Validation kidney", ("before/val_kidney", "final/val_kidney")),
            Panel("points", "Tumour, one point per run", ("final/val_tumor",), "before/val_tumor"),
        ],
        "Case by case": [Panel("table", "Cases", ("cases",))],
        "Slices": [Panel("media", "Best, median and worst case", SLICES)],
        "Learning curves": [
            Panel("curves", f"{title}{name}", (f"{prefix}{name}",), f"{prefix}epoch")
            for prefix, title in (("", "stage one: "), ("finetune/", "stage two: "))
            for name in ("train/loss", "val/loss", "val/tumour_dice", "val/kidney_dice")
        ],
    }
    if not any(name.startswith(run_content.BEFORE) for name in logged):
        del sections["Before and after fine-tuning"]
    available = {title: _available(panels, logged) for title, panels in sections.items()}
    return {title: panels for title, panels in available.items() if panels}


def describe(layout: DashboardLayout) -> str:
    """Return the layout as text, one line per panel."""
    ids = ", ".join(layout.ids)
    runs = f"group {layout.group}" if layout.group else f"{len(layout.ids)} runs ({ids})"
    entity = layout.entity if layout.entity is not None else "(your default entity)"
    lines = [f"workspace and report '{layout.title}' in {entity}/{layout.project}, {runs}"]
    for title, panels in layout.sections.items():
        lines.append(f"  {title}")
        for panel in panels:
            axis = f" by {panel.x}" if panel.x is not None else ""
            lines.append(f"    {panel.kind:6} {panel.title}: {', '.join(panel.names)}{axis}")
    return "\n".join(lines)


def _available(panels: list[Panel], logged: set[str]) -> list[Panel]:
    """Return the panels with logged names only, without panels that have none."""
    found = []
    for panel in panels:
        names = tuple(name for name in panel.names if name in logged)
        if names and (panel.x is None or panel.x in logged):
            found.append(Panel(panel.kind, panel.title, names, panel.x))
    return found


def _table_rows(records: Sequence[Record]) -> list[list[str]]:
    study = tables.study(records)
    return [
        [row.label, *(formats.interval(cell.mean, spread=cell.sd) for cell in cells)]
        for row, cells in zip(study.rows, study.final, strict=True)
    ]
