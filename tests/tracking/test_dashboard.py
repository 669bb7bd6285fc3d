"""The dashboard command: layout, workspace and report, offline and with a local server."""

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from kitsseg import dashboard
from kitsseg.data.labels import KITS19
from kitsseg.reporting import runs
from kitsseg.tracking import dashboard_layout, tracking_file, wandb_dashboard
from kitsseg.tracking.dashboard_layout import DashboardLayout, Panel
from tests.helpers.commands import find_problems
from tests.reporting.html.made import record, sweep, write_run
from tests.tracking.service import ENTITY, Service


def logged(folder: Path) -> Path:
    """Write a sweep with two runs and a table that were logged to W&B."""
    sweep(folder)
    for number, name in enumerate(("0_model=unet", "1_model=attn_unet")):
        about = {"id": f"id{number}", "project": "kitsseg", "entity": None, "group": "made/now"}
        tracking_file.update(folder / name, "wandb", **about)
    tracking_file.update(folder, "wandb", id="table", project="kitsseg", group="made/now")
    return folder


def planned(folder: Path, project: str | None = None, entity: str | None = None) -> DashboardLayout:
    return dashboard_layout.make_layout(runs.find_jobs([folder]), folder, project, entity)


def panels(view: Any) -> list[dict[str, Any]]:
    """Return all panels of a workspace as they are sent."""
    sent = json.loads(wandb_dashboard.to_json(view))
    sections = sent["spec"]["section"]["panelBankConfig"]["sections"]
    return [panel for section in sections for panel in section["panels"]]


def test_the_layout_of_a_sweep(tmp_path: Path) -> None:
    made = planned(logged(tmp_path / "now"))
    assert (made.title, made.project, made.entity, made.group) == (
        "made/now",
        "kitsseg",
        None,
        "made/now",
    )
    assert made.ids == ["id0", "id1", "table"]
    assert list(made.sections) == [
        "Table 1", "By model", "Before and after fine-tuning", "Case by case", "Slices",
        "Learning curves",
    ]  # fmt: skip
    assert "| unet " in made.table and "| attn_unet " in made.table
    text = dashboard_layout.describe(made)
    assert text.startswith("workspace and report 'made/now' in (your default entity)/kitsseg, group")
    assert "    points Tumour, one point per run: final/val_tumor by before/val_tumor\n" in text
    assert text.endswith("finetune/val/kidney_dice by finetune/epoch")
    assert planned(tmp_path / "now", "p", "e").entity == "e"


def test_panels_without_data_are_left_out() -> None:
    assert dashboard_layout.make_sections(set(), KITS19) == {}
    found = dashboard_layout.make_sections(
        {"final/val_tumor", "val/loss", "epoch", "slices/best", "finetune/val/loss"}, KITS19
    )
    assert found == {
        "By model": [Panel("bars", "val tumor", ("final/val_tumor",))],
        "Slices": [Panel("media", "Best, median and worst case", ("slices/best",))],
        "Learning curves": [Panel("curves", "stage one: val/loss", ("val/loss",), "epoch")],
    }


def test_a_single_run_is_selected_by_its_id(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", record("unet", [0.1], [0.2]))
    with pytest.raises(ValueError, match="contains no run that was logged with logger=wandb$"):
        planned(folder)
    tracking_file.update(folder, "wandb", id="one", project="p", entity="e", group=None)
    made = planned(folder)
    assert (made.title, made.ids, made.group) == ("run", ["one"], None)
    assert "Table 1" not in made.sections
    sent = json.loads(wandb_dashboard.to_json(wandb_dashboard.make_workspace(made)))
    (chosen,) = sent["spec"]["section"]["runSets"][0]["filters"]["filters"]
    assert (chosen["key"]["name"], chosen["op"], chosen["value"]) == ("name", "IN", ["one"])


def test_the_workspace_as_json(tmp_path: Path) -> None:
    view = wandb_dashboard.make_workspace(planned(logged(tmp_path / "now"), entity="team"))
    sent = json.loads(wandb_dashboard.to_json(view))
    assert (sent["entity"], sent["project"], sent["displayName"]) == ("team", "kitsseg", "made/now")
    runset = sent["spec"]["section"]["runSets"][0]
    assert runset["filters"]["filters"][0]["value"] == "made/now"
    assert runset["grouping"][0] == {"section": "config", "name": "model_name.value"}
    found = {panel["config"].get("chartTitle"): panel for panel in panels(view)}
    bars = found["Validation tumour"]["config"]
    assert bars["metrics"] == ["summary_metrics.before/val_tumor", "summary_metrics.final/val_tumor"]
    assert bars["groupBy"] == "model_name.value"
    curve = found["stage two: val/loss"]["config"]
    assert (curve["xAxis"], curve["metrics"]) == ("finetune/epoch", ["finetune/val/loss"])
    kinds = [panel["viewType"] for panel in panels(view)]
    assert kinds.count("Weave") == 2 and kinds.count("Media Browser") == 2
    assert '"val": "cases"' in json.dumps(sent) and '"val": "table1"' in json.dumps(sent)


def test_the_report_has_the_table_and_the_same_panels(tmp_path: Path) -> None:
    made = planned(logged(tmp_path / "now"), entity="team")
    page = wandb_dashboard.make_report(made)
    grids = [block for block in page.blocks if hasattr(block, "runsets")]
    assert [len(grid.panels) for grid in grids] == [len(each) for each in made.sections.values()]
    assert [grid.runsets[0].entity for grid in grids] == ["team"] * len(grids)
    assert made.table in [getattr(block, "text", None) for block in page.blocks]


def run(folder: Path, **changes: Any) -> None:
    values = {"runs": str(folder), "project": None, "entity": None, "offline": True, "output": None}
    dashboard.run(OmegaConf.create({**values, **changes}))


def test_offline_prints_the_layout_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(logged(tmp_path / "now"), output=str(tmp_path / "a" / "spec.json"))
    out = capsys.readouterr().out
    assert "    table  Cases: cases\n" in out and out.endswith(
        "not saved to W&B; set offline=false to save\n"
    )
    assert json.loads((tmp_path / "a" / "spec.json").read_text())["displayName"] == "made/now"


def test_without_an_api_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ValueError, match=r"^offline=false: no API key"):
        run(logged(tmp_path / "now"), offline=False)


def test_saving_again_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two requests to the server are replaced."""
    sent: list[Any] = []

    def upsert(view: Any) -> dict[str, Any]:
        sent.append((view.name, view.id))
        return {"upsertView": {"view": {"name": view.name, "id": "V1"}}}

    def save(page: Any) -> None:
        sent.append(page.id)
        page.id = "R1"

    monkeypatch.setattr(wandb_dashboard.ws.interface.internal, "upsert_view2", upsert)
    monkeypatch.setattr(wandb_dashboard.wr.Report, "save", save)
    for kind in (wandb_dashboard.ws.Workspace, wandb_dashboard.wr.Report):
        monkeypatch.setattr(kind, "url", property(lambda self: f"https://{type(self).__name__}"))
    folder = logged(tmp_path / "now")
    made = planned(folder, entity="team")
    assert wandb_dashboard.save(made, folder) == ["https://Workspace", "https://Report"]
    assert wandb_dashboard.save(made, folder) == ["https://Workspace", "https://Report"]
    (name, first), no_report, again, same_report = sent
    assert name and not first and not no_report
    assert again == (name, "V1") and same_report == "R1"


def test_the_server_receives_every_panel(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = logged(tmp_path / "now")
    made = planned(folder)
    run(folder, offline=False)
    addresses = capsys.readouterr().out.splitlines()[-2:]
    view, page = service.views.values()
    assert (view["type"], page["type"]) == ("project-view", "runs")
    for sent in (view, page):
        assert (sent["entityName"], sent["projectName"], sent["displayName"]) == (
            ENTITY, "kitsseg", "made/now",
        )  # fmt: skip
    sections = json.loads(view["spec"])["section"]["panelBankConfig"]["sections"]
    grids = [b for b in json.loads(page["spec"])["blocks"] if b["type"] == "panel-grid"]
    shown = [each["metadata"]["panelBankSectionConfig"]["panels"] for each in grids]
    for found in ([each["panels"] for each in sections], shown):
        assert len(found) == len(made.sections)
        for panels_of_one, planned_ones in zip(found, made.sections.values(), strict=True):
            assert len(panels_of_one) == len(planned_ones)
            for panel, wanted in zip(panels_of_one, planned_ones, strict=True):
                text = json.dumps(panel)
                axis = [] if wanted.x is None else [wanted.x]
                assert all(name in text for name in [*wanted.names, *axis])
    assert [each["name"] for each in sections] == list(made.sections)
    assert all(address.startswith(f"{service.url}/{ENTITY}/kitsseg") for address in addresses)
    run(folder, offline=False)  # overwrites both
    assert len(service.views) == 2 and not service.unknown


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ([], "runs: has no value; set it with runs=VALUE"),
        (["runs=no/where"], "runs=no/where: no such folder"),
        (["runs=.", "ofline=false"], "ofline: no such key; did you mean offline?"),
        (["runs=.", "offline=3.5"], "offline=3.5: Value '3.5' is not a valid bool (type float)"),
    ],
)
def test_refusals(overrides: list[str], problem: str) -> None:
    assert find_problems("dashboard", overrides) == [problem]


def test_an_error_of_the_server_is_a_value_error(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = service.answer

    def refuse(query: str, variables: dict[str, Any]) -> Any:
        if "upsertView" in query:
            return {"errors": [{"message": "permission denied"}]}
        return answer(query, variables)

    folder = logged(tmp_path / "now")
    monkeypatch.setattr(service, "answer", refuse)
    with pytest.raises(ValueError, match=r"^offline=false: W&B reported an error: .*permission denied"):
        run(folder, offline=False)
