"""Structure of the code: allowed imports, no import cycles, short files and functions."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import kitsseg

PACKAGE = Path(kitsseg.__file__).parent

# The packages that each package may import. Modules at the top level are commands.
ALLOWED = {
    "system": {},
    "models": {},
    "data": {"system"},
    "evaluation": {"data", "system"},
    "inference": {"evaluation", "data", "models", "system"},
    "reporting": {"evaluation", "data", "system"},
    "training": {"reporting", "inference", "evaluation", "data", "models", "system"},
    "tracking": {"reporting", "evaluation", "data", "system"},
    "jobs": {"training", "tracking", "reporting", "evaluation", "data", "system"},
    "config": {"jobs", "training", "tracking", "evaluation", "data", "system"},
}
# Besides the commands, only these packages may import each library.
ONLY_IN = {"hydra": {"config", "jobs"}, "omegaconf": {"config", "jobs"}, "wandb": {"tracking"}}
NO_TORCH = ("evaluation", "reporting")
MODELS_IMPORT = {"torch", "math", "collections", "typing", "dataclasses"}
MAX_LINES, MAX_FUNCTION_LINES, MAX_MODULES = 300, 60, 12


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the module of each import statement and the imported name ("" for the whole module)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full, "") if full in MODULES else (node.module, alias.name)


def package_of(module: str) -> str:
    """Return ``data`` for ``kitsseg.data.io.nifti.read``; empty for commands and other libraries."""
    parts = module.split(".")
    return parts[1] if parts[0] == "kitsseg" and len(parts) > 1 and parts[1] in ALLOWED else ""


def folder_of(module: str) -> str:
    """Return the package that contains a module, such as ``kitsseg.data.io.nifti`` for ``....read``."""
    return module if MODULES[module].stem == "__init__" else module.rpartition(".")[0]


def find_cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


GRAPH = {
    name: {module for module, _ in imports(path) if module in MODULES} - {name}
    for name, path in MODULES.items()
}


def test_package_list_is_complete() -> None:
    assert {"kitsseg.train", "kitsseg.models.unet", "kitsseg.data.store.store"} <= set(MODULES)
    assert {package_of(name) for name in MODULES} == {"", *ALLOWED}
    assert find_cycle({"a": ["b"], "b": ["a"]})


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_import_only_allowed_packages(name: str) -> None:
    own = package_of(name)
    for module, taken in imports(MODULES[name]):
        top = module.split(".")[0]
        assert not module.startswith("hydra._internal"), f"{name}: {module} is private to Hydra"
        assert own in ONLY_IN.get(top, {own}) or not own, f"{name} imports {top}"
        assert not (own in NO_TORCH and top in ("torch", "pytorch_lightning")), f"{name} imports {top}"
        if own == "models":
            assert top in MODELS_IMPORT or package_of(module) == "models", f"{name} imports {top}"
        if top != "kitsseg" or module == "kitsseg":
            continue
        other = package_of(module)
        assert other, f"{name} imports the command {module}"
        if own and other != own:
            assert other in ALLOWED[own], f"{own} may not import {other} ({name} imports {module})"
        if other != own:
            private = taken.startswith("_") or module.rpartition(".")[2].startswith("_")
            assert not private, f"{name} imports the private name {module}.{taken}"


def test_modules_have_no_import_cycle() -> None:
    assert not find_cycle(GRAPH)


def test_packages_have_no_import_cycle() -> None:
    folders: dict[str, set[str]] = {}
    for name, others in GRAPH.items():
        if package_of(name):
            here = folders.setdefault(folder_of(name), set())
            here |= {folder_of(other) for other in others} - {folder_of(name)}
    assert not find_cycle(folders)


def test_files_and_functions_are_short_and_folders_are_small() -> None:
    for name, path in MODULES.items():
        text = path.read_text()
        assert len(text.splitlines()) <= MAX_LINES, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= MAX_FUNCTION_LINES, f"{name}.{node.name} has {lines} lines"
    for folder in {path.parent for path in MODULES.values()}:
        assert len(list(folder.glob("*.py"))) <= MAX_MODULES, folder
