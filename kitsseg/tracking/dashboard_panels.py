"""What a dashboard of a sweep shows: only what its runs hold. Nothing here knows W&B."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitsseg.reporting import formats, showcase, tables
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.runs import Job
from kitsseg.tracking import logged_content, run_ids

TRACKER = "wandb"
ROLES = tuple(f"slices/{role}" for role in showcase.ROLES)


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        kind: ``bars`` (by model), ``curves``, ``points`` (a run each), ``table`` or ``media``.
        title: above it.
        names: the metrics, tables or media that it shows.
        x: the metric along the horizontal axis, of curves and points.
    """

    kind: str
    title: str
    names: tuple[str, ...]
    x: str | None = None


@dataclass(frozen=True)
class Plan:
    """A dashboard.

    Attributes:
        title: of workspace and report.
        project, entity: where its runs are; without an entity W&B's default one.
        group: of the runs; empty if they have none in common.
        ids: of the runs.
        sections: panels by the title of their section.
        table: Table 1 as Markdown.
    """

    title: str
    project: str
    entity: str | None
    group: str
    ids: list[str]
    sections: dict[str, list[Panel]]
    table: str


def make(jobs: Sequence[Job], folder: Path, project: str | None, entity: str | None) -> Plan:
    """The dashboard of the runs of ``folder`` that W&B knows.

    Args:
        jobs: below ``folder``.
        folder: of the sweep, or of a run.
        project, entity: None for those that the runs were logged to.

    Raises:
        ValueError: there are none.
    """
    runs = {job.folder: run_ids.read(job.folder, TRACKER) for job in jobs}
    runs = {path: values for path, values in runs.items() if values.get("id")}
    if not runs:
        raise ValueError(f"runs={folder} holds no run that was logged with logger=wandb")
    first = next(iter(runs.values()))
    groups = {values.get("group") for values in runs.values()}
    group = groups.pop() if len(groups) == 1 else None
    records = [job.record for job in jobs if job.folder in runs and job.record is not None]
    known = {name for record in records for name in metrics(record)}
    known |= {f"slices/{shown.role}" for path in runs for shown in showcase.read(path)}
    known |= {"cases"} if records else set()
    at_end = run_ids.read(folder, TRACKER) if folder not in runs else {}
    known |= {"table1", "report"} if at_end else set()
    ids = [values["id"] for values in (*runs.values(), at_end) if values.get("id")]
    return Plan(
        title=group if group is not None else folder.resolve().name,
        project=first["project"] if project is None else project,
        entity=first.get("entity") if entity is None else entity,
        group="" if group is None else group,
        ids=ids,
        sections=sections(known),
        table=formats.markdown(tables.HEAD, _lines(records)) if records else "",
    )


def metrics(record: Record) -> set[str]:
    """The names under which a run's figures and curves are logged."""
    names = set(logged_content.numbers(record))
    for stage, prefix in (("train", ""), ("finetune", "finetune/")):
        for row in record.curves.get(stage, []):
            names |= {prefix + name for name in row if name != "lr"}
    return names


def sections(known: set[str]) -> dict[str, list[Panel]]:
    """The panels of which anything is known, each with what is known of it."""
    wanted: dict[str, list[Panel]] = {
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
            Panel("points", "Tumour, a run each", ("final/val_tumor",), "before/val_tumor"),
        ],
        "Case by case": [Panel("table", "Cases", ("cases",))],
        "Slices": [Panel("media", "Best, median and worst case", ROLES)],
        "Learning curves": [
            Panel("curves", f"{title}{name}", (f"{stage}{name}",), f"{stage}epoch")
            for stage, title in (("", "stage one: "), ("finetune/", "stage two: "))
            for name in ("train/loss", "val/loss", "val/tumour_dice", "val/kidney_dice")
        ],
    }
    found: dict[str, list[Panel]] = {}
    for title, panels in wanted.items():
        left = [panel for each in panels if (panel := _known(each, known)) is not None]
        if title.startswith("Before") and not any(
            name.startswith(logged_content.BEFORE) for name in known
        ):
            left = []
        if left:
            found[title] = left
    return found


def outline(plan: Plan) -> str:
    """The dashboard in words, a line a panel."""
    which = f"group {plan.group}" if plan.group else f"{len(plan.ids)} runs: {', '.join(plan.ids)}"
    place = f"{plan.entity if plan.entity is not None else '(your default entity)'}/{plan.project}"
    lines = [f"workspace and report '{plan.title}' in {place}, of {which}"]
    for title, panels in plan.sections.items():
        lines.append(f"  {title}")
        for panel in panels:
            along = f" along {panel.x}" if panel.x is not None else ""
            lines.append(f"    {panel.kind:6} {panel.title}: {', '.join(panel.names)}{along}")
    return "\n".join(lines)


def _known(panel: Panel, known: set[str]) -> Panel | None:
    names = tuple(name for name in panel.names if name in known)
    if not names or (panel.x is not None and panel.x not in known):
        return None
    return Panel(panel.kind, panel.title, names, panel.x)


def _lines(records: Sequence[Record]) -> list[list[str]]:
    done: Any = tables.study(records)
    return [
        [row.label, *(formats.interval(cell.mean, spread=cell.sd) for cell in cells)]
        for row, cells in zip(done.rows, done.final, strict=True)
    ]
