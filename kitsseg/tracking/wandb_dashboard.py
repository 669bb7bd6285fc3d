"""Create the W&B workspace and the report of a sweep with wandb-workspaces."""

from pathlib import Path
from typing import Any

from kitsseg.system.optional_packages import require
from kitsseg.system.package_messages import error_line
from kitsseg.tracking import tracking_file
from kitsseg.tracking.dashboard_layout import BY_MODEL, DashboardLayout, Panel

TRACKER = "dashboard"  # also the extra that installs wandb-workspaces
wr, ws, expr = (
    require(f"wandb_workspaces.{name}", TRACKER, "kitsseg.dashboard")
    for name in ("reports.v2", "workspaces", "expr")
)
MODEL = "model_name"
PINNED = "final/val_"  # start of the pinned metrics


def make_workspace(layout: DashboardLayout) -> Any:
    """Return the workspace without saving it."""
    names = [name for panel in layout.sections.get(BY_MODEL, []) for name in panel.names]
    pinned = [f"config:{MODEL}", *(f"summary:{name}" for name in names if name.startswith(PINNED))]
    runs = {"filters": [_run_filter(layout)], "groupby": [expr.Config(MODEL)], "pinned_columns": pinned}
    return ws.Workspace(
        **_place(layout),
        name=layout.title,
        sections=[
            ws.Section(name=title, panels=list(map(make_panel, panels)), is_open=True)
            for title, panels in layout.sections.items()
        ],
        runset_settings=ws.RunsetSettings(**runs),
        auto_generate_panels=False,
    )


def make_report(layout: DashboardLayout) -> Any:
    """Return the report without saving it: Table 1, then the panels of each section."""
    place = _place(layout)
    blocks: list[Any] = [wr.TableOfContents()]
    if layout.table:
        blocks += [wr.H1("Table 1"), wr.MarkdownBlock(layout.table)]
    for title, panels in layout.sections.items():
        groupby = [f"config.{MODEL}"] if title == BY_MODEL else []
        runs = wr.Runset(**place, name=layout.title, filters=[_run_filter(layout)], groupby=groupby)
        blocks += [wr.H2(title), wr.PanelGrid(runsets=[runs], panels=list(map(make_panel, panels)))]
    return wr.Report(**place, title=layout.title[:128], blocks=blocks)


def make_panel(panel: Panel) -> Any:
    """Return the wandb-workspaces object of a panel."""
    title, names, wide = panel.title, list(panel.names), wr.Layout(w=24, h=12)
    if panel.kind == "bars":
        metrics = [wr.SummaryMetric(name) for name in names]
        groups = {"groupby": wr.Config(MODEL), "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
        return wr.BarPlot(title=title, metrics=metrics, orientation="v", **groups)
    if panel.kind == "curves":
        return wr.LinePlot(title=title, x=panel.x, y=names)
    if panel.kind == "points":
        return wr.ScatterPlot(title=title, x=wr.SummaryMetric(panel.x), y=wr.SummaryMetric(names[0]))
    if panel.kind == "table":
        return wr.WeavePanelSummaryTable(table_name=names[0], layout=wide)
    assert panel.kind == "media"
    return wr.MediaBrowser(title=title, media_keys=names, num_columns=len(names), layout=wide)


def to_json(workspace: Any) -> str:
    """Return a workspace as the JSON that is sent to W&B."""
    return str(workspace._to_model().model_dump_json(indent=1, by_alias=True, exclude_none=True))


def save(layout: DashboardLayout, folder: Path) -> list[str]:
    """Save workspace and report to W&B and return their URLs.

    Their ids are stored in ``tracking.json`` of ``folder``; a second call overwrites both.
    """
    import wandb

    try:
        if layout.entity is None:
            layout = layout._replace(entity=wandb.Api().default_entity)
        place, stored = _place(layout), tracking_file.read(folder, TRACKER)
        workspace, report = make_workspace(layout), make_report(layout)
        if all(stored.get(name) == value for name, value in place.items()):
            workspace._internal_name = stored["workspace_name"]
            workspace._internal_id = stored["workspace_id"]
            report.id = stored["report_id"]
        workspace.save()
        report.save()
    except Exception as error:  # the classes differ between versions of wandb
        raise ValueError(f"offline=false: W&B reported an error: {error_line(error)}") from error
    ids = {"workspace_name": workspace._internal_name, "workspace_id": workspace._internal_id}
    tracking_file.update(folder, TRACKER, **place, **ids, report_id=report.id)
    return [workspace.url, report.url]


def _place(layout: DashboardLayout) -> dict[str, str]:
    """Return the project and the entity, which has a placeholder if it is unknown."""
    return {"project": layout.project, "entity": "ENTITY" if layout.entity is None else layout.entity}


def _run_filter(layout: DashboardLayout) -> Any:
    """Return the filter that selects the runs of the layout."""
    group = layout.group
    return expr.Metric("ID").isin(layout.ids) if group is None else expr.Metric("Group") == group
