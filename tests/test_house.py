"""Who may import whom, read from the source: the arrows of CONTRIBUTING.md."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kitsseg

PACKAGE = Path(kitsseg.__file__).parent
COMMANDS = {
    *("download", "verify", "prepare", "train", "evaluate", "report", "dashboard", "predict", "export"),
}
HEAVY = {"torch", "pytorch_lightning", "monai", "albumentations", "wandb"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(path: Path, everywhere: bool) -> Iterator[str]:
    """Full names of what a module imports, at its top level or ``everywhere`` in it."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def outside(name: str) -> set[str]:
    return {i.split(".")[0] for i in imports(MODULES[name], True)} - {"kitsseg"}


def inside(name: str) -> set[str]:
    """kitsseg's own parts that a module imports, by their first name."""
    own = (i for i in imports(MODULES[name], True) if i.startswith("kitsseg."))
    return {i.split(".")[1] for i in own} - {name.split(".")[1] if "." in name else ""}


def test_there_is_something_to_read() -> None:
    assert {"kitsseg.train", "kitsseg.models.unet", "kitsseg.data.store"} <= set(MODULES)
    assert "torch" in outside("kitsseg.task") and "labels" in inside("kitsseg.evaluation")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_imports_a_command(name: str) -> None:
    assert not inside(name) & COMMANDS


@pytest.mark.parametrize("name", sorted(MODULES))
def test_only_configuration_and_commands_know_hydra(name: str) -> None:
    known = {
        "config",
        "schema",
        "commands",
        "keys",
        "cli",
        "overrides",
        "components",
        "signatures",
        "sweep",
        *COMMANDS,
    }
    allowed = {f"kitsseg.{part}" for part in known}
    if name not in allowed:
        assert not outside(name) & {"hydra", "omegaconf"}


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("kitsseg.models.")])
def test_networks_know_torch_alone(name: str) -> None:
    assert outside(name) <= {"torch"} and inside(name) <= {"models"}


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("losses", set()),
        ("labels", set()),
        ("metrics", set()),
        ("counts", {"labels"}),
        ("confusion", {"labels"}),
        ("crop", set()),
        ("surface", {"crop"}),
        ("connected", set()),
        ("lesions", {"connected"}),
        ("postprocess", {"connected", "crop", "labels"}),
        ("scores", {"confusion", "crop", "labels", "lesions", "metrics", "surface"}),
        ("evaluation_record", {"files", "labels", "results", "stats"}),
        ("grid", {"labels"}),
        ("window", set()),
        ("inference", {"labels", "grid", "window"}),
        ("checkpoint", {"labels", "grid", "window"}),
        ("exchange", {"checkpoint", "extras", "files", "grid", "labels", "window"}),
        ("body", {"grid", "labels"}),
        (
            "segmenter",
            {
                *("body", "checkpoint", "data", "exchange", "grid", "hardware", "inference", "labels"),
                "runtime",
            },
        ),
        (
            "runtime",
            {"checkpoint", "exchange", "extras", "grid", "hardware", "prediction_record"},
        ),
        ("prediction_record", {"files", "labels"}),
        ("task", {"labels", "counts", "metrics", "losses", "window"}),
        ("finetune", set()),
        ("part", set()),
        ("locks", set()),
        ("extras", set()),
        ("fetch", {"part", "locks"}),
        ("fetch_all", {"fetch", "locks", "present"}),
        ("present", set()),
        ("files", set()),
        ("results", {"metrics", "files"}),
        ("failures", set()),
        ("job", {"files", "results"}),
        ("search", set()),
        ("unread", set()),
        ("invoked", set()),
        ("interrupts", {"invoked"}),
        ("memory", {"drivers", "invoked"}),
        ("drivers", set()),
        ("gpus", {"drivers"}),
        ("signals", set()),
        ("ranks", {"failures", "files", "gpus"}),
        ("launch", {"failures", "files", "gpus", "ranks", "signals"}),
        ("syncnorm", {"losses"}),
        ("stats", set()),
        ("layout", {"stats", "files"}),
        ("rows", {"results"}),
        ("runs", {"results"}),
        ("showcase", {"files", "grid", "labels", "data", "inference"}),
        ("comparisons", {"rows", "stats", "layout", "labels"}),
        ("strata", {"rows", "stats", "layout", "labels"}),
        ("tables", {"results", "rows", "stats", "layout", "comparisons", "strata"}),
    ],
)
def test_arrows(name: str, allowed: set[str]) -> None:
    assert inside(f"kitsseg.{name}") <= allowed


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("kitsseg.data.")])
def test_data_knows_labels_and_the_grid(name: str) -> None:
    known = {"labels", "grid", "locks", "files", "crop", "extras", "present", "signals"}
    assert inside(name) <= {"data", *known}


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("kitsseg.htmlreport.")])
def test_the_page_is_made_of_records_alone(name: str) -> None:
    known = {"runs", "results", "rows", "stats", "layout", "comparisons", "strata", "tables", "showcase"}
    assert inside(name) <= {"htmlreport", "labels", *known}
    assert outside(name).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("kitsseg.tracking")])
def test_trackers_show_what_records_hold(name: str) -> None:
    known = {"results", "runs", "showcase", "tables", "layout", "labels", "provenance", "files"}
    assert inside(name) <= {"tracking", *known}
    if name.endswith((".plan", ".content", ".kept", ".extras", ".sweep_end")):
        found = {i.split(".")[0] for i in imports(MODULES[name], False)}
        assert found.isdisjoint({*HEAVY, "mlflow", "wandb_workspaces"})


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_does_not_wait_for_torch(command: str) -> None:
    """Nothing heavy is imported on the way to ``--help``, however far down."""
    seen, todo = set(), ["kitsseg", f"kitsseg.{command}"]
    while todo:
        name = todo.pop()
        for found in imports(MODULES[name], False):
            assert found.split(".")[0] not in HEAVY, f"{name} imports {found}"
            if found in MODULES and found not in seen:
                seen.add(found)
                todo.append(found)
    assert {"kitsseg.cli", "kitsseg.config", "kitsseg.signatures"} <= seen


def test_evaluating_needs_no_torch() -> None:
    """Every process that evaluates would wait for it."""
    seen: set[str] = set()
    todo = ["kitsseg.scores", "kitsseg.postprocess", "kitsseg.data.find_masks", "kitsseg.data.nifti"]
    todo.append("kitsseg.evaluation_record")
    while todo:
        for found in imports(MODULES[todo.pop()], True):
            assert found.split(".")[0] not in HEAVY
            if found in MODULES and found not in seen:
                seen.add(found)
                todo.append(found)
    assert {"kitsseg.surface", "kitsseg.lesions", "kitsseg.results"} <= seen


def test_no_drawers_for_everything() -> None:
    assert not [n for n in MODULES if n.rpartition(".")[2] in ("utils", "helpers", "common", "misc")]
