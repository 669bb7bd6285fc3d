"""The notebook runs, and its stored outputs are those of its cells.

``python -m tests.docs.test_notebook`` executes it and stores the outputs.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
PATH = ROOT / "docs/tutorials/python.ipynb"


def execute(folder: Path) -> Any:
    """Return the notebook after its execution in ``folder``."""
    notebook = nbformat.read(PATH, 4)
    settings = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    client = nbclient.NotebookClient(notebook, timeout=None, record_timing=False, coalesce_streams=True)
    client.resources = {"metadata": {"path": str(folder)}}
    client.execute(env=os.environ | settings)
    return notebook


def kinds(notebook: Any) -> list[tuple[str, ...]]:
    """Return the kinds of all outputs, in order."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return [(each.output_type, each.get("name", ""), *sorted(each.get("data", {}))) for each in outputs]


def test_stored_outputs_are_text_and_described_pictures() -> None:
    cells = nbformat.read(PATH, 4).cells
    outputs = [(cell, output) for cell in cells for output in cell.get("outputs", [])]
    assert {output.output_type for _, output in outputs} == {"stream", "display_data", "execute_result"}
    assert all(output.get("name") != "stderr" for _, output in outputs)
    pictures = [cell for cell, output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2 and all("alt" in cell.metadata for cell in pictures)


@pytest.mark.slow
def test_notebook_runs(tmp_path: Path) -> None:
    assert kinds(execute(tmp_path)) == kinds(nbformat.read(PATH, 4))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        nbformat.write(execute(Path(home)), PATH)
