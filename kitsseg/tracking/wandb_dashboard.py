"""A plan -> a W&B workspace and report, with wandb-workspaces."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from kitsseg.tracking import run_ids
from kitsseg.tracking.dashboard_panels import Panel, Plan

TRACKER = "dashboard"
MODEL = "model_name"
PINNED = ("final/val_tumor", "final/val_kidney")


def workspace(plan: Plan) -> Any:
    """The saved view, not yet saved; ``ENTITY`` stands for an entity that only the server knows."""
    sections = [
        ws.Section(name=title, panels=[panel_of(panel) for panel in panels], is_open=True)
        for title, panels in plan.sections.items()
    ]
    shown = {name for panels in plan.sections.values() for panel in panels for name in panel.names}
    return ws.Workspace(
        entity=plan.entity if plan.entity is not None else "ENTITY",
        project=plan.project,
        name=plan.title,
        sections=sections,
        runset_settings=ws.RunsetSettings(
            filters=[chosen(plan)],
            groupby=[expr.Config(MODEL)],
            pinned_columns=[f"config:{MODEL}", *(f"summary:{n}" for n in PINNED if n in shown)],
        ),
        auto_generate_panels=False,
    )


def report(plan: Plan) -> Any:
    """The report, not yet saved: Table 1, then the same panels under headings."""
    entity = plan.entity if plan.entity is not None else "ENTITY"
    blocks: list[Any] = [wr.TableOfContents()]
    if plan.table:
        blocks += [wr.H1("Table 1"), wr.MarkdownBlock(plan.table)]
    for title, panels in plan.sections.items():
        runs = wr.Runset(
            entity=entity, project=plan.project, name=plan.title, filters=[chosen(plan)],
            groupby=[f"config.{MODEL}"] if title == "By model" else [],
        )  # fmt: skip
        grid = wr.PanelGrid(runsets=[runs], panels=[panel_of(panel) for panel in panels])
        blocks += [wr.H2(title), grid]
    return wr.Report(project=plan.project, entity=entity, title=plan.title[:128], blocks=blocks)


def chosen(plan: Plan) -> Any:
    """The filter that leaves the plan's runs."""
    return expr.Metric("Group") == plan.group if plan.group else expr.Metric("ID").isin(plan.ids)


def panel_of(panel: Panel) -> Any:
    """wandb-workspaces' panel."""
    wide = wr.Layout(w=24, h=12)
    if panel.kind == "bars":
        return wr.BarPlot(
            title=panel.title,
            metrics=[wr.SummaryMetric(name) for name in panel.names],
            orientation="v",
            groupby=wr.Config(MODEL),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
        )
    if panel.kind == "curves":
        return wr.LinePlot(title=panel.title, x=panel.x, y=list(panel.names))
    if panel.kind == "points":
        assert panel.x is not None
        return wr.ScatterPlot(
            title=panel.title, x=wr.SummaryMetric(panel.x), y=wr.SummaryMetric(panel.names[0])
        )
    if panel.kind == "table":
        return wr.WeavePanelSummaryTable(table_name=panel.names[0], layout=wide)
    assert panel.kind == "media"
    return wr.MediaBrowser(
        title=panel.title, media_keys=list(panel.names), num_columns=len(panel.names), layout=wide
    )


def specification(view: Any) -> str:
    """A workspace as the JSON that is sent."""
    model = view._to_model().model_dump_json(by_alias=True, exclude_none=True)
    return json.dumps(json.loads(model), indent=1)


def save(plan: Plan, folder: Path) -> list[str]:
    """Save both, or save over those that ``folder`` keeps; returns their addresses.

    Raises:
        ValueError: the server refuses one.
    """
    from dataclasses import replace

    import wandb

    if plan.entity is None:
        with _asking():
            plan = replace(plan, entity=wandb.Api().default_entity)
    place = {"project": plan.project, "entity": plan.entity}
    before = run_ids.read(folder, TRACKER)
    same = all(before.get(name) == value for name, value in place.items())
    view, page = workspace(plan), report(plan)
    if same:
        view._internal_name, view._internal_id = before["workspace_name"], before["workspace_id"]
        page.id = before["report_id"]
    with _asking():
        view.save()
        page.save()
    names = {"workspace_name": view._internal_name, "workspace_id": view._internal_id}
    run_ids.keep(folder, TRACKER, **place, **names, report_id=page.id)
    return [view.url, page.url]


@contextmanager
def _asking() -> Iterator[None]:
    """What the server refuses is raised by other classes in each version of wandb, private ones too."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"offline=false: W&B refused: {' '.join(str(error).split())[:200]}") from error
